"""The last real token's vector: the only one that has seen a causal row."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from glue_jax.layers.context import BatchContext
from glue_jax.layers.spec import EncoderConfig


class Pooler(nn.Module):
  """x at the last real position, wherever padding stands; no parameters."""

  config: EncoderConfig

  def __call__(
    self, last_hidden: jax.Array, context: BatchContext
  ) -> jax.Array:
    """Maps (B, L, D) to (B, D); a row of nothing but padding gives its first.

    Args:
      last_hidden: (B, L, D).
      context: `mask` is read.
    """
    places = jnp.arange(last_hidden.shape[1])
    last = jnp.where(context.mask, places, 0).max(1)
    return jnp.take_along_axis(last_hidden, last[:, None, None], axis=1)[:, 0]
