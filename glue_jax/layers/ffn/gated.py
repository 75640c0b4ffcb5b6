"""Gated feed-forward part (Shazeer 2020, arXiv 2002.05202, eq. 6).

ffn_out(activation(ffn_gate x) * ffn_in x): SwiGLU with 'silu' (LLaMA, Qwen),
GeGLU with 'gelu' (T5 1.1, ModernBERT).
"""

import flax.linen as nn
import jax

from glue_jax.layers.context import BatchContext
from glue_jax.layers.dense import dense
from glue_jax.layers.dropout import Dropout
from glue_jax.layers.ffn.feedforward import Activation
from glue_jax.layers.spec import EncoderConfig


class FFN(nn.Module):
  """Two dense layers, one through the activation, their product, dense."""

  config: EncoderConfig

  @nn.compact
  def __call__(
    self, x: jax.Array, context: BatchContext, train: bool
  ) -> jax.Array:
    """Maps (B, L, D) to (B, L, D), without the residual."""
    del context  # Every position is on its own.
    c = self.config
    layer = {'use_bias': c.use_bias}
    gate = dense(c, c.intermediate_size, name='ffn_gate', **layer)(x)
    h = dense(c, c.intermediate_size, name='ffn_in', **layer)(x)
    h = Activation(c.activation, name='ffn_act')(gate) * h
    h = Dropout(c.activation_dropout, name='ffn_drop')(h, train)
    h = nn.with_logical_constraint(h, ('batch', 'length', 'mlp'))
    h = dense(c, c.hidden_size, name='ffn_out', **layer)(h)
    return Dropout(c.dropout)(h, train)
