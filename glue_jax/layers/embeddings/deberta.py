"""Embeddings of DeBERTa (He et al. 2021, arXiv 2006.03654 and 2111.09543)."""

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
  """LayerNorm(project(word + position + type)), zero at padding, dropped out.

  The position table is there with `position_table`, that of types with
  `type_vocab_size`; the projection has no bias and comes before the norm.
  """

  config: Any  # `layers/spec.py: EncoderConfig`

  def setup(self):
    c = self.config
    width = c.embedding_size or c.hidden_size
    self.word = Table(c, c.vocab_size, width, c.pad_id)
    if c.position_table:
      self.position = Table(c, c.max_positions, width)
    if c.type_vocab_size:
      self.token_type = Table(c, c.type_vocab_size, width)
    if width != c.hidden_size:
      self.projection = dense(c, c.hidden_size, use_bias=False)
    self.ln = LayerNorm(c.layer_norm_eps, c.dtype)
    self.drop = Dropout(c.dropout)

  def __call__(
    self, input_ids: jax.Array, context: BatchContext, train: bool
  ) -> jax.Array:
    """Embeds tokens.

    Args:
      input_ids: (B, L) int32.
      context: `mask`, `token_type_ids` and `positions` are read.
      train: turns dropout on.

    Returns:
      hidden states (B, L, D).
    """
    c = self.config
    x = self.word(input_ids)
    if c.position_table:
      x += self.position(context.positions)
    if c.type_vocab_size:
      x += self.token_type(context.token_type_ids)
    if x.shape[-1] != c.hidden_size:
      x = self.projection(x)
    # The convolution of some sizes reads the neighbours of padding.
    x = jnp.where(context.mask[..., None], self.ln(x), 0)
    return self.drop(x, train)
