"""Layer normalisation (Ba et al. 2016, arXiv 1607.06450, eq. 4)."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class Normalise(nn.Module):
  """What LayerNorm does with its leaves; a module so that plugs can change it.

  Attributes:
    eps, dtype: see `LayerNorm`.
  """

  eps: float
  dtype: str

  def __call__(
    self, x: jax.Array, scale: jax.Array, bias: jax.Array
  ) -> jax.Array:
    """Maps x (..., D) with scale and bias (D,) to (..., D)."""
    y, _ = standardise(x, self.eps)
    return (y * scale + bias).astype(self.dtype)


class LayerNorm(nn.Module):
  """Normalises the last axis; statistics are float32 for any input type.

  Attributes:
    eps: added to the variance.
    dtype: type of the result.
  """

  eps: float
  dtype: str = 'float32'

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps (..., D) to (..., D) in the computation type."""
    width = x.shape[-1]
    scale = self.param('scale', nn.initializers.ones, (width,))
    bias = self.param('bias', nn.initializers.zeros, (width,))
    return Normalise(self.eps, self.dtype, name='normalise')(x, scale, bias)


# What fills the slot.
Norm = LayerNorm


def standardise(x: jax.Array, eps: float) -> tuple[jax.Array, jax.Array]:
  """Returns ((x - mean) / std (..., D), 1 / std (..., 1)), float32.

  Args:
    x: (..., D).
    eps: added to the (biased) variance.
  """
  x = x.astype(jnp.float32)
  # The variance is taken of centred values: E[x^2] - E[x]^2 cancels badly.
  x -= _mean(x)
  variance = jnp.square(x).mean(-1, keepdims=True)
  inverse = jax.lax.rsqrt(variance + eps)
  return x * inverse, inverse


def _mean(x: jax.Array) -> jax.Array:
  """Means of (..., D): (..., 1)."""
  return jax.lax.platform_dependent(
    x, cpu=_mean_by_product, default=lambda x: x.mean(-1, keepdims=True)
  )


def _mean_by_product(x):
  # XLA hands a CPU's reductions to a library together with all that leads to
  # them, the matrix products of the sublayer too, for which it is slow. The
  # product with a constant vector ends that chain: inference takes a sixth
  # less time.
  width = x.shape[-1]
  mean = jnp.dot(
    x.reshape(-1, width),
    jnp.full((width,), 1 / width, x.dtype),
    precision=jax.lax.Precision.HIGHEST,
  )
  return mean.reshape(*x.shape[:-1], 1)
