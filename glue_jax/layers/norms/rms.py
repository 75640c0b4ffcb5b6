"""Root mean square normalisation (Zhang and Sennrich 2019, arXiv 1910.07467).

No mean is taken off and there is no bias: x / sqrt(mean(x^2) + eps) * scale
(eq. 4), as T5, LLaMA and Qwen have it.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp


class Norm(nn.Module):
  """Normalises the last axis; statistics are float32 for any input type.

  Attributes:
    eps: added to the mean square.
    dtype: type of the result.
  """

  eps: float
  dtype: str = 'float32'

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps (..., D) to (..., D) in the computation type."""
    scale = self.param('scale', nn.initializers.ones, (x.shape[-1],))
    x = x.astype(jnp.float32)
    square = jnp.square(x).mean(-1, keepdims=True)
    return (x * jax.lax.rsqrt(square + self.eps) * scale).astype(self.dtype)
