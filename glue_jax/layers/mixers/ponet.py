"""PoNet's mixer (Tan et al. 2022, arXiv 2110.02442): three poolings.

Global aggregation: one query, the mean over valid tokens of the query map,
attends to all keys, which are the values too. Segment max-pooling over each
token's segment, local max-pooling over a window of three, and their fusion:
glue_jax/kernels/segment_pooling/segment_pooling.py. Linear in the length.

Parameter names: layer_{i}/mixer/{query,key,gate,segment,local,attn_out}; the
official code's dense_{q,k,o,segment,local} and output.dense.

The mean of the query map is the query map of the mean: it is applied to one
vector a row, a matrix product less than the official code.
"""

from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp

from glue_jax.config.ranges import OneOf, Whole
from glue_jax.kernels.segment_pooling import reference, segment_pooling
from glue_jax.layers.context import BatchContext
from glue_jax.layers.dense import dense
from glue_jax.layers.dropout import Dropout
from glue_jax.layers.spec import EncoderConfig

# Of the runs of equal length that stand for segments, by `equal_runs`.
SEGMENTS = ('special', 'equal', 'batch')


class Mixer(nn.Module):
  """The three poolings with their projections.

  Attributes:
    config: sizes and parts of the encoder; `special_ids` are [CLS] and [SEP].
    segments: 'special' cuts at special tokens (the official default), unless
      the batch has `segment_ids`; 'batch' demands those; 'equal' cuts into
      `segment_number` runs of equal length.
    segment_number: of runs, for 'equal'.
    hide_special: special tokens are left out of local and segment pooling, as
      in the published models (`clsgsepg`); False gives them no treatment.
    global_pooling: False leaves out the global token (an ablation).
    segment_pooling: False leaves out the segment maximum.
    local_pooling: False leaves out the local maximum.
    ties: see `kernels.segment_pooling`.
    implementation: see there.
  """

  config: EncoderConfig
  segments: Annotated[str, OneOf(SEGMENTS)] = 'special'
  segment_number: Whole = 0
  hide_special: bool = True
  global_pooling: bool = True
  segment_pooling: bool = True
  local_pooling: bool = True
  ties: str = 'even'
  implementation: str | None = None

  @nn.compact
  def __call__(
    self, x: jax.Array, context: BatchContext, train: bool
  ) -> jax.Array:
    """Maps (B, L, D) to (B, L, D).

    Args:
      x: hidden states (B, L, D).
      context: `mask`, `input_ids` and, where the batch has them, `segment_ids`
        are read.
      train: turns dropout on.

    Returns:
      the sublayer's output after dropout, without the residual.

    Raises:
      ValueError: an unknown way to cut segments, or heads that don't divide
        the width.
    """
    c = self.config
    if c.hidden_size % c.num_heads:
      raise ValueError(
        f'model.num_heads={c.num_heads} does not divide '
        f'model.hidden_size={c.hidden_size}'
      )
    mask = context.mask
    ids, special, contiguous = self.cut(context)

    def project(name, inputs=x):
      return nn.with_logical_constraint(
        dense(c, c.hidden_size, name=name)(inputs), ('batch', 'length', 'heads')
      )

    nothing = jnp.zeros(x.shape, c.dtype)
    token = nothing[:, 0]
    if self.global_pooling:
      count = jnp.maximum(mask.sum(1), 1)[:, None, None]
      mean = jnp.where(mask[..., None], x, 0).sum(1, keepdims=True) / count
      query, key = project('query', mean.astype(x.dtype)), project('key')
      token, _ = global_token(query[:, 0], key, mask, c.num_heads)
    kind = jnp.where(special, reference.SPECIAL, reference.ORDINARY)
    pooled = segment_pooling.segment_pooling(
      token,
      project('gate'),
      # The maximum of zeros is zero.
      project('segment') if self.segment_pooling else nothing,
      project('local') if self.local_pooling else nothing,
      ids,
      jnp.where(mask, kind, reference.PAD),
      contiguous=contiguous,
      ties=self.ties,
      implementation=self.implementation,
    )
    out = dense(c, c.hidden_size, name='attn_out')(pooled)
    return Dropout(c.dropout)(out, train)

  def cut(self, context: BatchContext) -> tuple[jax.Array, jax.Array, bool]:
    """Segment ids (B, L), special tokens (B, L), and whether ids are runs.

    Those that the batch gives may be any: the kernels look at them.
    """
    if self.segments not in SEGMENTS:
      raise ValueError(
        f"model.options['ponet'] segments={self.segments!r}; expected one of "
        f'{SEGMENTS}'
      )
    input_ids = context.input_ids
    ids, special = special_runs(input_ids, self.config.special_ids)
    if not self.hide_special:
      special = jnp.zeros_like(special)
    given = context.segment_ids
    if self.segments == 'equal':
      return equal_runs(*ids.shape, self.segment_number), special, True
    if given is not None:
      return given, special, False
    if self.segments == 'batch':
      raise ValueError(
        "model.options['ponet'] segments='batch': the batch has no segment_ids"
      )
    return ids, special, True


def global_token(
  query: jax.Array, key: jax.Array, mask: jax.Array, heads: int
) -> tuple[jax.Array, jax.Array]:
  """Attention of one query a row: v = sum_l p_l k_l, p = softmax(q.k_l/sqrt K).

  Args:
    query: (B, D), the mean over valid tokens.
    key: (B, L, D), also the values.
    mask: (B, L) bool.
    heads: H; the channels are split into (H, K).

  Returns:
    v (B, D) in the type of the keys, and p (B, H, L) float32. A row without a
    valid token gets a finite v.
  """
  batch, length, width = key.shape
  query = query.reshape(batch, heads, -1) * (width // heads) ** -0.5
  key = key.reshape(batch, length, heads, -1)
  scores = jnp.einsum(
    'bhk,blhk->bhl', query, key, preferred_element_type=jnp.float32
  )
  scores = jnp.where(mask[:, None], scores, jnp.finfo(jnp.float32).min)
  share = jax.nn.softmax(scores)
  token = jnp.einsum('bhl,blhk->bhk', share.astype(key.dtype), key)
  return token.reshape(batch, width), share


def special_runs(
  input_ids: jax.Array, special_ids: tuple[int, ...]
) -> tuple[jax.Array, jax.Array]:
  """The official default: each special token and each run between is a segment.

  With s_l = 1 at special tokens, seg = cumsum(s_l + s_{l-1}) - 1.

  Args:
    input_ids: (B, L).
    special_ids: ids of [CLS] and [SEP].

  Returns:
    segment ids (B, L) int32, which grow along a row, and the special tokens
    (B, L) bool.
  """
  special = jnp.isin(input_ids, jnp.array(special_ids, input_ids.dtype))
  mark = special.astype(jnp.int32)
  before = jnp.pad(mark[:, :-1], ((0, 0), (1, 0)))
  return jnp.cumsum(mark + before, axis=1) - 1, special


def equal_runs(batch: int, length: int, number: int) -> jax.Array:
  """Runs of length // number + 1 tokens, as in Long Range Arena: (B, L) int32.

  Raises:
    ValueError: the number of segments isn't positive.
  """
  if number < 1:
    raise ValueError(
      f"model.options['ponet'] segment_number={number}: segments='equal' needs "
      'at least 1'
    )
  run = jnp.arange(length) // (length // number + 1)
  return jnp.broadcast_to(run, (batch, length)).astype(jnp.int32)
