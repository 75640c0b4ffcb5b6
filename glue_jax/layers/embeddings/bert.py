"""Embeddings of BERT (Devlin et al. 2019, arXiv 1810.04805) and its kin."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from glue_jax.layers.context import BatchContext
from glue_jax.layers.dense import dense
from glue_jax.layers.dropout import Dropout
from glue_jax.layers.embeddings.table import Table
from glue_jax.layers.norms.layer import LayerNorm


class Embeddings(nn.Module):
  """LayerNorm(word + position + type), projected where needed, dropped out.

  `max_positions=0` has no position table, `type_vocab_size=0` none of types.
  """

  config: Any  # `layers/spec.py: EncoderConfig`

  def setup(self):
    c = self.config
    width = c.embedding_size or c.hidden_size
    self.word = Table(c, c.vocab_size, width, c.pad_id)
    if c.max_positions:
      self.position = Table(
        c, c.max_positions, width, c.pad_id if c.position_offset else None
      )
    if c.type_vocab_size:
      self.token_type = Table(c, c.type_vocab_size, width)
    self.ln = LayerNorm(c.layer_norm_eps, c.dtype)
    self.drop = Dropout(c.dropout)
    if c.projection or width != c.hidden_size:
      self.projection = dense(c, c.hidden_size)

  def __call__(
    self, input_ids: jax.Array, context: BatchContext, train: bool
  ) -> jax.Array:
    """Embeds tokens.

    Args:
      input_ids: (B, L) int32.
      context: `token_type_ids` are read.
      train: turns dropout on.

    Returns:
      hidden states (B, L, D).

    Raises:
      ValueError: L exceeds the position table.
    """
    c = self.config
    x = self.word(input_ids)
    if c.max_positions:
      x += self._positions(input_ids)
    if c.type_vocab_size:
      x += self.token_type(context.token_type_ids)
    x = self.ln(x)
    # ELECTRA drops out before its projection, FNet after it.
    if c.projection:
      return self.drop(self.projection(x), train)
    x = self.drop(x, train)
    return x if x.shape[-1] == c.hidden_size else self.projection(x)

  def _positions(self, input_ids):
    """Rows of the position table: (B, L, E) or (1, L, E)."""
    c = self.config
    length, limit = input_ids.shape[1], c.max_positions - c.position_offset
    if length > limit:
      raise ValueError(
        f'input of length {length} exceeds the {limit} positions of the model; '
        'lower data.max_length'
      )
    if not c.position_offset:
      return self.position(jnp.arange(length)[None])
    real = input_ids != c.pad_id
    count = jnp.cumsum(real, axis=1, dtype=jnp.int32)
    return self.position(
      jnp.where(real, count - 1 + c.position_offset, c.pad_id)
    )
