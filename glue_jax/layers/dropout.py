"""Dropout (Srivastava et al. 2014)."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class Dropout(nn.Module):
  """Zeroes elements with probability `rate` and scales up the rest."""

  rate: float

  @nn.compact
  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    """Maps (...) to (...); the identity unless training. Uses rng 'dropout'."""
    if not train or self.rate == 0.0:
      return x
    keep = 1.0 - self.rate
    mask = jax.random.bernoulli(self.make_rng('dropout'), keep, x.shape)
    return jnp.where(mask, x / keep, 0.0).astype(x.dtype)
