"""Embeddings of BERT (Devlin et al. 2019, arXiv 1810.04805) and its kin."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from glue_jax.layers.dense import dense
from glue_jax.layers.dropout import Dropout
from glue_jax.layers.norm import LayerNorm


class Table(nn.Module):
  """A lookup table with an optional padding row.

  The padding row starts at zero and gets no gradient from lookups; used as a
  tied decoder (`attend`) it does get one, as in PyTorch.
  """

  config: Any  # `layers/spec.py: EncoderConfig`
  rows: int
  width: int
  pad_id: int | None = None

  def setup(self):
    self.embedding = self.param('embedding', self._init)

  def _init(self, rng: jax.Array) -> jax.Array:
    init = nn.initializers.normal(self.config.init_range)
    table = init(rng, (self.rows, self.width))
    return table if self.pad_id is None else table.at[self.pad_id].set(0)

  def __call__(self, ids: jax.Array) -> jax.Array:
    """Looks up (B, L) ids: (B, L, E). An id beyond the table gives NaN."""
    x = jnp.take(self.embedding, ids, axis=0, mode='fill')
    if self.pad_id is None:
      return x
    keep = (ids != self.pad_id)[..., None]
    return jnp.where(keep, x, jax.lax.stop_gradient(x))

  def attend(self, x: jax.Array) -> jax.Array:
    """Scores of all rows as a tied decoder: (B, L, E) to (B, L, V) float32."""
    table = self.embedding.astype(x.dtype)
    return jnp.einsum(
      'ble,ve->blv', x, table, preferred_element_type=jnp.float32
    )


class Embeddings(nn.Module):
  """LayerNorm(word + position + type), projected where needed, dropped out.

  `max_positions=0` has no position table.
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
    self.token_type = Table(c, c.type_vocab_size, width)
    self.ln = LayerNorm(c.layer_norm_eps, c.dtype)
    self.drop = Dropout(c.dropout)
    if c.projection or width != c.hidden_size:
      self.projection = dense(c, c.hidden_size)

  def __call__(
    self, input_ids: jax.Array, token_type_ids: jax.Array, train: bool
  ) -> jax.Array:
    """Embeds tokens.

    Args:
      input_ids: (B, L) int32.
      token_type_ids: (B, L) int32.
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
    x = self.ln(x + self.token_type(token_type_ids))
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
