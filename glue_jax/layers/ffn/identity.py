"""A feed-forward part that adds nothing: blocks that only mix tokens.

The baseline beside other parts; layers/mixers/identity.py is its like.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from glue_jax.layers.context import BatchContext
from glue_jax.layers.spec import EncoderConfig


class FFN(nn.Module):
  """Adds zero to the residual: positions aren't transformed."""

  config: EncoderConfig

  def __call__(
    self, x: jax.Array, context: BatchContext, train: bool
  ) -> jax.Array:
    """Maps (B, L, D) to zeros (B, L, D)."""
    del context, train
    return jnp.zeros_like(x)
