"""DEFT: fewer non-zero activations. Runwal et al. 2024, arXiv 2402.01911.

Task loss + weight * density loss; parts: objectives/density.py. What learns is
left to the method it is listed with (LoRA, an adapter, a prompt, ...). As in
the official code padding counts in loss and metric unless `include_padding` is
off, and an encoder-decoder has the sum of both stacks' means. Logged: `density`
(share of |a| > threshold) and `density_loss`.

Use it: for activations that are mostly exactly 0, with ReLU; GELU stays dense.
Costs: two numbers a token and layer for the loss; no leaf.
Not with: experts and Hydra (no dense feed-forward part), `meft` (its blocks
  hand nothing out).
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from glue_jax.config.ranges import NonNegative, Positive
from glue_jax.layers import paths
from glue_jax.method import Context, Facts, Loss, Method
from glue_jax.objectives import density
from glue_jax.plugs import Plug, Recorder

SITES = paths.of('ffn/ffn_act')
SURROGATE, SHARE = 'density_surrogate', 'density_share'

FACTS = Facts(
  # At the published eps = 1e-7 the slope of the density loss turns round-off of
  # an activation into another gradient.
  small=dict(eps=0.1),
  identity=True,
  axis='regularizer',
  refuses={'has no layer': ('comet', 'hydra')},
)


def make(
  ctx: Context,
  *,
  weight: NonNegative = 1.0,
  eps: Positive = density.EPS,
  threshold: NonNegative = density.THRESHOLD,
  include_padding: bool = True,
) -> Method:
  """Returns the density loss over the feed-forward activations of all layers.

  Args:
    ctx: see `Context`.
    weight: of the density loss; 0 only logs.
    eps: of the loss.
    threshold: of the metric.
    include_padding: padded positions count.
  """
  del ctx

  def wrap(loss: Loss) -> Loss:
    def with_density(apply, params, batch, rng):
      recorder = Recorder(apply)
      total, metrics = loss(recorder, params, batch, rng)
      layers = by_layer(recorder.outputs[-1], batch, include_padding)
      rows = batch['weight'].astype(jnp.float32)
      count = rows.sum()
      term, share = combined(layers[SURROGATE]), combined(layers[SHARE])
      if weight:
        total += weight * (term * rows).sum() / jnp.maximum(count, 1)
      logged = {'density_loss': term, 'density': share}
      sums = {n: ((x * rows).sum(), count) for n, x in logged.items()}
      return total, metrics | sums

    return with_density

  return Method('deft', plugs=(plug(eps, threshold),), wrap_loss=wrap)


def plug(eps: float, threshold: float) -> Plug:
  """Captures both densities of every position; (B, T) each, never (B, T, F)."""

  def call(site, next_fn, x):
    a = next_fn(x)
    site.capture(SURROGATE, density.surrogate(a, eps))
    site.capture(SHARE, density.density(jax.lax.stop_gradient(a), threshold))
    return a

  return Plug(SITES, call)


def by_layer(
  outputs: Mapping[str, Any], batch: Mapping[str, Any], include_padding: bool
) -> dict[str, dict[str, jax.Array]]:
  """Means over positions of what the plug captured.

  Args:
    outputs: of the model.
    batch: its batch; several rows of an example (choices) are averaged.
    include_padding: padded positions count.

  Returns:
    {SURROGATE or SHARE: {path of a block: (B,)}}, blocks in order, those of an
    encoder first.
  """
  found: dict[str, dict[paths.Place, jax.Array]] = {SURROGATE: {}, SHARE: {}}
  for path, values in outputs['captured'].items():
    place, name = paths.split(path), path.rpartition('/')[2]
    if place and name in found:
      # What an encoder-decoder writes has a mask of its own, if any.
      both = place.stack == 'decoder' and 'encoder_last_hidden' in outputs
      mask = batch.get('decoder_attention_mask' if both else 'attention_mask')
      if include_padding or mask is None:
        mask = None
      else:
        mask = jnp.asarray(mask).reshape(-1, mask.shape[-1])
      rows = density.per_example(values, mask)
      rows = rows.reshape(len(batch['input_ids']), -1).mean(1)
      found[name][place] = rows
  return {
    name: {
      place.block: values[place]
      for place in sorted(
        values, key=lambda x: (x.stack != 'encoder', x.number)
      )
    }
    for name, values in found.items()
  }


def combined(layers: Mapping[str, jax.Array]) -> jax.Array:
  """Returns what `density.combine` makes of {path of a block: (B,)}: (B,)."""
  stacks: dict[str, list[jax.Array]] = {}
  for path, values in layers.items():
    stacks.setdefault(path.partition('/')[0], []).append(values)
  return density.combine(*stacks.values())
