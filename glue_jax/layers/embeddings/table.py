"""A lookup table, which all embeddings are made of."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from glue_jax.layers.dense import spread


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
    init = nn.initializers.normal(spread(self.config, self.name or ''))
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
