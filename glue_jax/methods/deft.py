"""DEFT: fewer non-zero activations. Runwal et al. 2024, arXiv 2402.01911.

Task loss + weight * density loss; parts: objectives/density.py. What learns is
left to the method it is listed with (LoRA, an adapter, a prompt, ...). As in
the official code padding counts in loss and metric unless `include_padding` is
off. Logged: `density` (share of |a| > threshold) and `density_loss`.

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
from glue_jax.method import Context, Facts, Loss, Method
from glue_jax.objectives import density
from glue_jax.plugs import Plug, Recorder

SITES = r'encoder/layer_\d+/ffn/ffn_act'
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
      term = density.combine(list(layers[SURROGATE].values()))
      share = density.combine(list(layers[SHARE].values()))
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
    {SURROGATE or SHARE: {'layer_{i}': (B,)}}, layers in order.
  """
  mask = None
  if not include_padding:
    mask = jnp.asarray(batch['attention_mask'])
    mask = mask.reshape(-1, mask.shape[-1])
  densities: dict[str, dict[str, jax.Array]] = {SURROGATE: {}, SHARE: {}}
  for path, values in outputs['captured'].items():
    parts = path.split('/')
    if parts[-1] in densities:
      rows = density.per_example(values, mask)
      rows = rows.reshape(len(batch['input_ids']), -1).mean(1)
      densities[parts[-1]][parts[1]] = rows

  def order(layer):
    return int(layer.removeprefix('layer_'))

  return {
    name: {layer: layers[layer] for layer in sorted(layers, key=order)}
    for name, layers in densities.items()
  }
