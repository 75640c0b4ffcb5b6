"""Virtual adversarial training on normalised embeddings (SiFT).

He et al. 2021 (DeBERTa, arXiv 2006.03654, section 5) after Jiang et al. 2020
(SMART, arXiv 1911.03437), as in the code of the authors of DeBERTa, which
normalises the sum of the embeddings just before its LayerNorm where the paper
speaks of word vectors.

Use it: in a method that fine-tunes (methods/sift.py).
Cost: of a classifier two more passes forward and two backward, one of which
  ends at the embeddings.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp

from glue_jax.layers.norms.layer import standardise
from glue_jax.plugs import Plug

Divergence = Literal['symmetric-kl', 'kl', 'mse']
# Where it sits, and the name there of what it hands out.
PLACE, NAME = 'encoder/embeddings/ln', 'sift_input'
NORM_EPS = 1e-7


def normalised(site: Any, next_fn: Callable, x: jax.Array) -> jax.Array:
  """A LayerNorm without leaves before that of the embeddings, as a plug.

  What it gives is handed out; where the extra trees have a value of that name
  instead, that is what the norm of the embeddings gets.
  """
  given = site.apply.extra.get(NAME)
  if given is None:
    given, _ = standardise(x, NORM_EPS)
    site.capture(NAME, given)
  return next_fn(given)


PLUG = Plug(PLACE, normalised)


def start(seeds: jax.Array, shape: tuple[int, ...], sigma: float) -> jax.Array:
  """Draws the first perturbation, N(0, sigma^2) cut off at 2 sigma.

  Args:
    seeds: (B,) uint32, one a row, so that a row's is the same however the batch
      is cut up.
    shape: (B, ...), or (B * C, ...) of C choices a row.
    sigma: the deviation.
  """
  row = (shape[0] // len(seeds), *shape[1:])
  noise = jax.vmap(lambda seed: jax.random.normal(jax.random.key(seed), row))
  drawn = sigma * noise(seeds).reshape(shape)
  return jnp.clip(drawn, -2 * sigma, 2 * sigma)


def ascend(delta: jax.Array, gradient: jax.Array, eps: float) -> jax.Array:
  """One step uphill, of size `eps` for the largest element of each position.

  The perturbation stays where the gradient isn't finite.

  Args:
    delta, gradient: (..., D).
    eps: length of the step in the maximum norm.
  """
  largest = jnp.abs(gradient).max(-1, keepdims=True)
  moved = delta + eps * gradient / (1e-6 + largest)
  return jnp.where(jnp.isfinite(jnp.linalg.norm(gradient)), moved, delta)


def divergence(
  kind: Divergence, logits: jax.Array, target: jax.Array
) -> jax.Array:
  """How far logits are from those of the clean pass, row by row.

  'kl' is the cross-entropy with the target's softmax, 'symmetric-kl' that and
  the one the other way round, 'mse' the mean square over all rows and logits (a
  row's share of it). The softmax that weighs a cross-entropy is detached, so
  that the gradient of 'symmetric-kl' reaches both arguments, each through its
  own logarithm; with respect to `logits` it is that of 'kl'.

  Args:
    kind: which.
    logits, target: (B, C).

  Returns:
    (B,) float32.
  """
  logits, target = (x.astype(jnp.float32) for x in (logits, target))
  if kind == 'mse':
    return jnp.square(logits - target).sum(-1) / logits.size
  ours, theirs = (jax.nn.log_softmax(x) for x in (logits, target))
  forth = -(jax.lax.stop_gradient(jnp.exp(theirs)) * ours).sum(-1)
  if kind == 'kl':
    return forth
  return forth - (jax.lax.stop_gradient(jnp.exp(ours)) * theirs).sum(-1)


def attacked(
  run: Callable[[jax.Array, Any, int], jax.Array],
  params: Any,
  clean: Mapping[str, jax.Array],
  delta: jax.Array,
  eps: float,
  kind: Divergence,
) -> tuple[jax.Array, jax.Array]:
  """Logits under the perturbation that one step uphill has found.

  No gradient goes through the perturbation or to the embeddings below it.

  Args:
    run: (what the embeddings' norm gets, params, number of the pass) -> logits
      (B, C).
    params: of the model.
    clean: {'input': (B, L, D) that the norm got in the clean pass, 'logits'}.
    delta: the first perturbation, as `start` draws it.
    eps: see `ascend`.
    kind: the divergence that the step goes up.

  Returns:
    (logits (B, C), the perturbation after the step).
  """
  held, x, target = jax.lax.stop_gradient(
    (params, clean['input'], clean['logits'])
  )

  def distance(delta):
    return divergence(kind, run(x + delta, held, 0), target).sum()

  gradient = jax.grad(distance)(delta)
  delta = jax.lax.stop_gradient(ascend(delta, gradient, eps))
  return run(x + delta, params, 1), delta
