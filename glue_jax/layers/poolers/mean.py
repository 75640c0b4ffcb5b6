"""The mean over real tokens."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from glue_jax.layers.context import BatchContext
from glue_jax.layers.spec import EncoderConfig


class Pooler(nn.Module):
  """sum(x * mask) / sum(mask); no parameters."""

  config: EncoderConfig

  def __call__(
    self, last_hidden: jax.Array, context: BatchContext
  ) -> jax.Array:
    """Maps (B, L, D) to (B, D); a row of nothing but padding gives zero.

    Args:
      last_hidden: (B, L, D).
      context: `mask` is read.
    """
    mask = context.mask[..., None].astype(jnp.float32)
    total = (last_hidden * mask).sum(1)
    return (total / jnp.maximum(mask.sum(1), 1)).astype(last_hidden.dtype)
