"""Word embeddings and, where there is a table, positions, then a norm.

BART and ModernBERT have no token types.
"""

from typing import Any

import flax.linen as nn
import jax

from glue_jax.layers import spec
from glue_jax.layers.context import BatchContext
from glue_jax.layers.dropout import Dropout
from glue_jax.layers.embeddings.table import Table


class Embeddings(nn.Module):
  """dropout(norm(scale * word + position)).

  The position table is there with `position_table`; its rows are those of
  `context.positions`, `position_offset` further on.

  Attributes:
    config: sizes and parts.
    shared: word table of another stack, in place of an own one.
  """

  config: Any  # `layers/spec.py: EncoderConfig`
  shared: Any = None

  def setup(self):
    c = self.config
    if self.shared is None:
      self.word = Table(c, c.vocab_size, c.hidden_size, c.pad_id)
    else:
      self.word = self.shared
    if c.position_table:
      self.position = Table(c, c.max_positions, c.hidden_size)
    self.ln = spec.part('norm', c.norm)(c.layer_norm_eps, c.dtype)
    self.drop = Dropout(c.dropout)

  def __call__(
    self, input_ids: jax.Array, context: BatchContext, train: bool
  ) -> jax.Array:
    """Maps (B, L) int32 to (B, L, D)."""
    c = self.config
    x = self.word(input_ids)
    if c.embedding_scale != 1:
      x = x * c.embedding_scale
    if c.position_table:
      x += self.position(context.positions + c.position_offset)
    return self.drop(self.ln(x), train)
