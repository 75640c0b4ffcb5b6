"""The vector at the last end token of the input (BART, T5).

Lewis et al. 2020, arXiv 1910.13461, section 3.2: the decoder's state there has
seen the whole input.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from glue_jax.layers.context import BatchContext
from glue_jax.layers.spec import EncoderConfig


class Pooler(nn.Module):
  """x where `input_ids` have their last `end_id`; no parameters."""

  config: EncoderConfig

  def __call__(
    self, last_hidden: jax.Array, context: BatchContext
  ) -> jax.Array:
    """Maps (B, L, D) to (B, D); a row without an end token gives its first.

    Args:
      last_hidden: (B, L, D).
      context: `input_ids` (B, L) are read.
    """
    places = jnp.arange(last_hidden.shape[1])
    ends = context.input_ids == self.config.end_id
    last = jnp.where(ends, places, 0).max(1)
    return jnp.take_along_axis(last_hidden, last[:, None, None], axis=1)[:, 0]
