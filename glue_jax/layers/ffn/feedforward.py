"""Position-wise feed-forward part (Vaswani et al. 2017, eq. 2)."""

import flax.linen as nn
import jax

from glue_jax.layers.activations import activation
from glue_jax.layers.context import BatchContext
from glue_jax.layers.dense import dense
from glue_jax.layers.dropout import Dropout
from glue_jax.layers.spec import EncoderConfig


class Activation(nn.Module):
  """The elementwise function; a module so that plugs can read or change it.

  Attributes:
    kind: a key of `ACTIVATIONS`.
  """

  kind: str

  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps (..., F) to (..., F)."""
    return activation(self.kind)(x)


class FFN(nn.Module):
  """Dense, activation, dense, dropout."""

  config: EncoderConfig

  @nn.compact
  def __call__(
    self, x: jax.Array, context: BatchContext, train: bool
  ) -> jax.Array:
    """Maps (B, L, D) to (B, L, D), without the residual."""
    del context  # Every position is on its own.
    c = self.config
    h = dense(c, c.intermediate_size, name='ffn_in', use_bias=c.use_bias)(x)
    h = nn.with_logical_constraint(h, ('batch', 'length', 'mlp'))
    h = Activation(c.activation, name='ffn_act')(h)
    h = Dropout(c.activation_dropout, name='ffn_drop')(h, train)
    h = dense(c, c.hidden_size, name='ffn_out', use_bias=c.use_bias)(h)
    return Dropout(c.dropout)(h, train)
