"""Word embeddings and, where there is a table, positions; no norm.

Decoders (GPT-2, LLaMA, Qwen, MPT) and T5 normalise inside their blocks.
"""

from typing import Any

import flax.linen as nn
import jax

from glue_jax.layers.context import BatchContext
from glue_jax.layers.dense import dense
from glue_jax.layers.dropout import Dropout
from glue_jax.layers.embeddings.table import Table


class Embeddings(nn.Module):
  """dropout(scale * word + position), words projected where narrower (OPT).

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
    width = c.embedding_size or c.hidden_size
    if width != c.hidden_size:
      self.projection = dense(c, c.hidden_size, use_bias=False)
    if self.shared is None:
      self.word = Table(c, c.vocab_size, width)
    else:
      self.word = self.shared
    if c.position_table:
      self.position = Table(c, c.max_positions, c.hidden_size)
    self.drop = Dropout(c.dropout)

  def __call__(
    self, input_ids: jax.Array, context: BatchContext, train: bool
  ) -> jax.Array:
    """Maps (B, L) int32 to (B, L, D)."""
    c = self.config
    x = self.word(input_ids)
    if c.embedding_scale != 1:
      x = x * c.embedding_scale
    if x.shape[-1] != c.hidden_size:
      x = self.projection(x)
    if c.position_table:
      x += self.position(context.positions + c.position_offset)
    return self.drop(x.astype(c.dtype), train)
