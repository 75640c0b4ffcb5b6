"""A mixer that adds nothing: what an encoder can without mixing tokens.

The baseline beside other mixers; layers/ffn/identity.py is its like.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from glue_jax.layers.context import BatchContext
from glue_jax.layers.spec import EncoderConfig


class Mixer(nn.Module):
  """Adds zero to the residual: tokens don't see each other."""

  config: EncoderConfig

  def __call__(
    self, x: jax.Array, context: BatchContext, train: bool
  ) -> jax.Array:
    """Maps (B, L, D) to zeros (B, L, D)."""
    del context, train
    return jnp.zeros_like(x)
