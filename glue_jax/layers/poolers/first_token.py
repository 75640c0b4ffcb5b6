"""The first token's vector as it is."""

import flax.linen as nn
import jax

from glue_jax.layers.context import BatchContext
from glue_jax.layers.spec import EncoderConfig


class Pooler(nn.Module):
  """x_0; no parameters."""

  config: EncoderConfig

  def __call__(
    self, last_hidden: jax.Array, context: BatchContext
  ) -> jax.Array:
    """Maps (B, L, D) to (B, D)."""
    del context
    return last_hidden[:, 0]
