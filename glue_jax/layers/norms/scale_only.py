"""Layer normalisation without a bias (MPT, ModernBERT)."""

import flax.linen as nn
import jax

from glue_jax.layers.norms.layer import standardise


class Norm(nn.Module):
  """(x - mean) / std * scale; statistics are float32 for any input type.

  Attributes:
    eps: added to the variance.
    dtype: type of the result.
  """

  eps: float
  dtype: str = 'float32'

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps (..., D) to (..., D) in the computation type."""
    scale = self.param('scale', nn.initializers.ones, (x.shape[-1],))
    return (standardise(x, self.eps)[0] * scale).astype(self.dtype)
