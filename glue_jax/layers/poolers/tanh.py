"""BERT's pooler: tanh of a dense layer on the first token."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from glue_jax.layers.context import BatchContext
from glue_jax.layers.dense import dense
from glue_jax.layers.spec import EncoderConfig


class Pooler(nn.Module):
  """tanh(dense(x_0)), Devlin et al. 2019, arXiv 1810.04805."""

  config: EncoderConfig

  @nn.compact
  def __call__(
    self, last_hidden: jax.Array, context: BatchContext
  ) -> jax.Array:
    """Maps (B, L, D) to (B, D)."""
    del context
    c = self.config
    return jnp.tanh(dense(c, c.hidden_size, name='dense')(last_hidden[:, 0]))
