"""Density of activations: the share that isn't zero, and a smooth stand-in.

DEFT, Runwal et al. 2024, arXiv 2402.01911; the official code's loss. For an
activation a the stand-in is a^2 / (a^2 + eps): 0 at a = 0, nearly 1 once |a| is
well above sqrt(eps), steepest around sqrt(eps / 3). As a loss it pushes values
that are almost zero to zero and hardly moves large ones.

Use it: through methods/deft.py or ada_deft.py, which say where it is taken, or
  as a step of the optimizer (optim/density.py).
Costs: the activations are kept for the backward pass.
Not with: blocks without a dense feed-forward part (experts, Hydra).
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

EPS = 1e-7
# Which |a| count as zero. A GELU underflows to an exact zero at another input
# in every framework, so that counting a != 0 would compare frameworks.
THRESHOLD = 1e-7


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def surrogate(a: jax.Array, eps: float = EPS) -> jax.Array:
  """Mean of a^2 / (a^2 + eps) over the last axis, in float32.

  Only the activations themselves are kept for the backward pass.

  Args:
    a: activations (..., F) of any float type.
    eps: positive.

  Returns:
    (...) in [0, 1).
  """
  square = jnp.square(a.astype(jnp.float32))
  return (square / (square + eps)).mean(-1)


def _forward(a, eps):
  return surrogate(a, eps), a


def _backward(eps, a, g):
  x = a.astype(jnp.float32)
  slope = 2 * eps * x / jnp.square(jnp.square(x) + eps)
  return ((g[..., None] / a.shape[-1] * slope).astype(a.dtype),)


surrogate.defvjp(_forward, _backward)


def density(a: jax.Array, threshold: float = THRESHOLD) -> jax.Array:
  """Share of |a| > threshold over the last axis: (..., F) to (...)."""
  above = jnp.abs(a.astype(jnp.float32)) > threshold
  return above.astype(jnp.float32).mean(-1)


def per_example(values: jax.Array, mask: jax.Array | None = None) -> jax.Array:
  """Means over positions: (B, T) to (B,).

  Args:
    values: of each position.
    mask: (B, L), 1 = counts; None = all positions do, padding too. With T < L
      the first T count (a stack that computes no more), with T > L the T - L
      in front do as well (a method's own tokens).
  """
  if mask is None:
    return values.mean(1)
  extra = values.shape[1] - mask.shape[1]
  mask = mask[:, : values.shape[1]].astype(jnp.float32)
  mask = jnp.pad(mask, ((0, 0), (max(extra, 0), 0)), constant_values=1)
  return (values * mask).sum(1) / jnp.maximum(mask.sum(1), 1)


def combine(
  encoder: Sequence[jax.Array], decoder: Sequence[jax.Array] = ()
) -> jax.Array:
  """The loss of values for each layer: the mean over layers.

  With an encoder and a decoder the sum of both means, as in the official code.

  Args:
    encoder, decoder: one array a layer, of equal shapes.
  """
  parts = [jnp.stack(list(layers)) for layers in (encoder, decoder) if layers]
  return sum(part.mean(0) for part in parts)
