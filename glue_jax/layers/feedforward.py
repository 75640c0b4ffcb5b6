"""Position-wise feed-forward part (Vaswani et al. 2017, eq. 2)."""

from typing import Any

import flax.linen as nn
import jax

from glue_jax.layers.dropout import Dropout
from glue_jax.layers.spec import ACTIVATIONS, EncoderConfig, dense


class FFN(nn.Module):
  """Dense, activation, dense, dropout."""

  config: EncoderConfig

  @nn.compact
  def __call__(
    self, x: jax.Array, context: dict[str, Any], train: bool
  ) -> jax.Array:
    """Maps (B, L, D) to (B, L, D), without the residual."""
    del context  # Every position is on its own.
    c = self.config
    h = dense(c, c.intermediate_size, name='ffn_in')(x)
    h = nn.with_logical_constraint(h, ('batch', 'length', 'mlp'))
    h = ACTIVATIONS[c.activation](h)
    h = dense(c, c.hidden_size, name='ffn_out')(h)
    return Dropout(c.dropout)(h, train)
