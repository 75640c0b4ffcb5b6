"""Disentangled attention (He et al. 2021, arXiv 2006.03654, eq. 4; DeBERTa).

A score has up to three terms: content to content, content to position (the
query with the key of the distance) and position to content (the key with the
query of the distance). The paper indexes the last one by the distance the other
way round; the released weights were trained with the same index in both, which
is what this is.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.config.ranges import Count, Whole
from glue_jax.kernels.disentangled.disentangled import position_scores
from glue_jax.layers.context import BatchContext
from glue_jax.layers.dense import dense
from glue_jax.layers.dropout import Dropout
from glue_jax.layers.mixers.attention import Core
from glue_jax.layers.spec import EncoderConfig

TERMS = ('c2p', 'p2c')


class Mixer(nn.Module):
  """Attention with terms of content and of relative position.

  Attributes:
    config: sizes and parts.
    buckets: distances beyond half of it share buckets logarithmically; 0 gives
      each distance up to `span` one of its own.
    span: the largest distance that is told apart.
    terms: those of `TERMS` that are added to content's own.
    share_key: positions are projected by the layers `query` and `key`; else by
      `position_query` and `position_key`.
    fused: see `attention.Core`.
  """

  config: EncoderConfig
  buckets: Whole = 256
  span: Count = 512
  terms: tuple[str, ...] = TERMS
  share_key: bool = True
  fused: bool = True

  @nn.compact
  def __call__(
    self, x: jax.Array, context: BatchContext, train: bool
  ) -> jax.Array:
    """Maps (B, L, D) to (B, L, D).

    Args:
      x: hidden states (B, L, D).
      context: `bias`, `queries`, the table `relative` and `memory` are read;
        the last one, (B, L, D), is attended to in place of `x` where it is.
      train: turns dropout on.

    Returns:
      the sublayer's output after dropout (B, L, D), without the residual;
      with `queries` only those positions.
    """
    c = self.config
    asking = x[:, : context.queries]
    seen = x if context.memory is None else context.memory
    project = {
      name: dense(c, c.hidden_size, name=name)
      for name in ('query', 'key', 'value')
    }
    query, key, value = (
      self._heads(project[name](inputs))
      for name, inputs in (('query', asking), ('key', seen), ('value', seen))
    )
    table = Dropout(c.dropout)(context.relative[None], train)
    rows = self._rows(asking.shape[1], seen.shape[1])
    # Short texts meet a part of the table only.
    first, last = rows.min(), rows.max()
    table = table[:, first : last + 1]
    keys = queries = None
    if 'c2p' in self.terms:
      keys = self._positions('key', project, table)
    if 'p2c' in self.terms:
      queries = self._positions('query', project, table)
    scale = (c.head_width * (1 + len(self.terms))) ** -0.5
    bias = context.bias[:, :, : context.queries]
    if self.terms:
      bias = bias + scale * position_scores(
        query, key, keys, queries, rows - first
      )
    bias = jnp.maximum(bias, jnp.finfo(jnp.float32).min)
    # The core divides by sqrt(K); the terms share one factor.
    query = query * (scale * c.head_width**0.5)
    core = Core(c, self.fused, name='core')
    out = core(query, key, value, bias, train).reshape(asking.shape)
    out = dense(c, c.hidden_size, name='attn_out')(out)
    return Dropout(c.dropout)(out, train)

  def _heads(self, x):
    """(B, L, D) as (B, L, H, K)."""
    heads = x.reshape(*x.shape[:2], self.config.num_heads, -1)
    axes = ('batch', 'length', 'heads', None)
    return nn.with_logical_constraint(heads, axes)

  def _positions(self, name, project, table):
    """The table's keys or queries: (R, H, K)."""
    c = self.config
    layer = project[name]
    if not self.share_key:
      layer = dense(c, c.hidden_size, name=f'position_{name}')
    return layer(table)[0].reshape(-1, c.num_heads, c.head_width)

  def _rows(self, length, other):
    """The table's rows of the pairs with j - i = 1 - L, ..., M - 1.

    c(i, j) of the paper, from query less key: (L + M - 1,) int32.
    """
    distance = np.arange(length - 1, -other, -1)
    half = self.buckets or self.span
    if self.buckets:
      distance = bucket(distance, self.buckets, self.span)
    return np.clip(distance + half, 0, 2 * half - 1).astype(np.int32)


def bucket(distance: np.ndarray, buckets: int, span: int) -> np.ndarray:
  """Returns logarithmic buckets of distances: int64 of the same shape.

  Distances up to half the buckets keep their own; larger ones, up to `span`,
  share the other half. Signs are kept.

  Args:
    distance: int, any shape.
    buckets: how many, both signs together.
    span: distances from here on are as `span - 1`.
  """
  distance = np.clip(distance, 1 - span, span - 1)
  middle = buckets // 2
  size = np.maximum(np.abs(distance), middle)
  # In float64, as the official code: float32 would move a bound.
  share = np.log(size / middle) / np.log((span - 1) / middle)
  far = np.ceil(share * (middle - 1)) + middle
  near = np.abs(distance) <= middle
  return np.where(near, distance, np.sign(distance) * far).astype(np.int64)
