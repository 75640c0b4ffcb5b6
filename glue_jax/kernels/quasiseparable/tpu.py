"""Quasiseparable mixing for TPU (Mosaic): a chunk and 128 channels a program.

The channels of a program are whole heads of one group (two of P = 64); a
product with one head's matrix is taken for all 128 lanes, which costs the
matrix unit nothing more, and lanes of other heads are left out. Programs run
with the heads innermost, so that a chunk's B, C and decays are read once and
the products C B^T are kept for a group. Scalars of a token lie in rows and in
columns (tpu_layout.py), so that nothing is transposed but Q x Q matrices.

Both directions walk their chunks through the index maps; nothing is flipped in
memory. States are held as (N, channels), full lanes for any N.

VMEM (`vmem_bytes`, of the gradients, the largest), at D = 1024 (H = 32, P = N =
64): Q = 128 2.9 MiB in bfloat16, 3.3 in float32; Q = 256 7.3 and 8.1. It does
not grow with the length; every chip has 16 MiB or more.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from glue_jax.kernels.quasiseparable.decays import Decays
from glue_jax.kernels.quasiseparable.tpu_layout import (
  LANES,
  NT,
  Plan,
  Scalars,
  block_of,
  div,
  dot,
  floats,
  iota,
  owner_of,
  rem,
  to_lanes,
  wide,
)
from glue_jax.kernels.quasiseparable.xla import Gradients

CHUNKS = (128, 256)
# N of a group: Mosaic doesn't broadcast a single bfloat16 column.
SMALLEST_STATE = 2


def vmem_bytes(
  heads: int,
  head_dim: int,
  state_size: int,
  chunk: int,
  itemsize: int,
  groups: int = 1,
) -> int:
  """What the program of the gradients, the largest one, holds.

  Args:
    heads, head_dim, state_size, groups: H, P, N, G.
    chunk: Q.
    itemsize: bytes of an element of x.

  Returns:
    Bytes of VMEM: each block twice, scratch, and the dozen Q x Q values that
    are alive at once.
  """
  _, lanes = block_of(heads // groups, head_dim)

  def whole(n, multiple):
    return -(-n // multiple) * multiple

  def lane(n):
    return whole(n, LANES)

  tokens = 3 * chunk * lanes * itemsize
  group = 4 * chunk * lane(state_size) * (itemsize + 4)
  states = 4 * whole(state_size, 8) * lanes * 4
  rows = (6 + 4) * whole(heads, 8) * chunk * 4
  columns = chunk * (lane(7 * heads) + lane(5 * heads)) * 4
  squares = (2 + 12) * chunk * chunk * 4
  return 2 * (tokens + group + states + rows + columns) + squares


def states(
  weight: jax.Array,
  x: jax.Array,
  b: jax.Array,
  kept: jax.Array,
  start: jax.Array,
  *,
  backward: bool,
  chunk: int,
  interpret: Any,
) -> tuple[jax.Array, jax.Array]:
  """See xla.py; states come as (2, B, K, blocks, N, 128)."""
  size, groups, heads = x.shape[3], b.shape[3], x.shape[2]
  each, lanes = block_of(heads // groups, size)
  x = wide(x, lanes // each)
  batch, blocks, width = x.shape[0], x.shape[2] // lanes, b.shape[-1]
  count = kept.shape[-1]
  kept = to_lanes(jnp.moveaxis(kept, 3, 2), blocks, lanes)
  start = jnp.moveaxis(start, 4, 2)  # (2, B, N, H, P)
  start = wide(start, lanes // each).reshape(2, batch, width, blocks, lanes)

  def at(d, c):  # the chunk that direction d comes to in step c
    ahead = d == (1 if backward else 0)
    return jnp.where(ahead, c, count - 1 - c)

  one = (1, 1, 1, 1, width, lanes)
  out, final = pl.pallas_call(
    functools.partial(_states_kernel, each=each),
    grid=(2, batch, count, blocks),
    in_specs=[
      pl.BlockSpec(
        (1, 1, heads, chunk), lambda d, z, c, _: (d, z, 0, at(d, c))
      ),
      pl.BlockSpec(
        (1, 1, 1, width, chunk),
        lambda d, z, c, j: (d, z, div(j, blocks // groups), 0, at(d, c)),
      ),
      pl.BlockSpec((1, chunk, lanes), lambda d, z, c, j: (z, at(d, c), j)),
      pl.BlockSpec(
        (1, 1, 1, 1, 1, lanes), lambda d, z, c, j: (d, z, at(d, c), j, 0, 0)
      ),
      pl.BlockSpec((1, 1, 1, width, lanes), lambda d, z, _, j: (d, z, j, 0, 0)),
    ],
    out_specs=[
      pl.BlockSpec(one, lambda d, z, c, j: (d, z, at(d, c), j, 0, 0)),
      pl.BlockSpec(
        (1, 1, blocks, width, lanes), lambda d, z, *_: (d, z, 0, 0, 0)
      ),
    ],
    out_shape=[
      floats(2, batch, count, blocks, width, lanes),
      floats(2, batch, blocks, width, lanes),
    ],
    compiler_params=_params('parallel', 'parallel', 'arbitrary', 'arbitrary'),
    interpret=interpret,
  )(weight, b.transpose(0, 1, 3, 4, 2), x, kept, start.swapaxes(2, 3))
  final = final.swapaxes(2, 3).reshape(2, batch, width, heads, -1)[..., :size]
  return out, jnp.moveaxis(final, 2, 4)


def outputs(
  x: jax.Array,
  decays: Decays,
  b: jax.Array,
  c: jax.Array,
  delta: jax.Array,
  states: jax.Array,
  *,
  chunk: int,
  interpret: Any,
) -> jax.Array:
  """See xla.py; `states` as ours."""
  plan = Plan(x, decays, b, c, delta, chunk)
  kernel = functools.partial(_outputs_kernel, plan=plan)
  y = pl.pallas_call(
    kernel,
    grid=plan.grid,
    in_specs=[plan.tokens, *plan.specs, plan.state],
    out_specs=plan.tokens,
    out_shape=jax.ShapeDtypeStruct(plan.x.shape, x.dtype),
    scratch_shapes=[pltpu.VMEM((chunk, chunk), jnp.float32)],
    compiler_params=_params('parallel', 'parallel', 'arbitrary'),
    interpret=interpret,
  )(plan.x, *plan.arrays, states)
  return plan.narrow(y)


def gradients(
  cotangent: jax.Array,
  x: jax.Array,
  decays: Decays,
  b: jax.Array,
  c: jax.Array,
  delta: jax.Array,
  states: jax.Array,
  later: jax.Array,
  *,
  chunk: int,
  interpret: Any,
) -> Gradients:
  """See xla.py; `states` and `later` as ours."""
  plan = Plan(x, decays, b, c, delta, chunk)
  batch, length, heads = x.shape[:3]
  square = pltpu.VMEM((chunk, chunk), jnp.float32)
  d_x, d_b, d_c, rows, columns, kept = pl.pallas_call(
    functools.partial(_gradients_kernel, plan=plan),
    grid=plan.grid,
    in_specs=[plan.tokens, plan.tokens, *plan.specs, plan.state, plan.state],
    out_specs=[
      plan.tokens,
      plan.group,
      plan.group,
      pl.BlockSpec((4, 1, heads, chunk), lambda z, k, _: (0, z, 0, k)),
      pl.BlockSpec((1, chunk, 5 * heads), lambda z, k, _: (z, k, 0)),
      pl.BlockSpec(
        (2, 1, 1, 1, 1, plan.lanes), lambda z, k, j: (0, z, k, j, 0, 0)
      ),
    ],
    out_shape=[
      jax.ShapeDtypeStruct(plan.x.shape, x.dtype),
      *[floats(2, batch, plan.groups, length, plan.width)] * 2,
      floats(4, batch, heads, length),
      floats(batch, length, 5 * heads),
      floats(*later.shape[:4], 1, plan.lanes),
    ],
    scratch_shapes=[square, square],
    compiler_params=_params('parallel', 'parallel', 'arbitrary'),
    interpret=interpret,
  )(wide(cotangent, plan.size), plan.x, *plan.arrays, states, later)
  columns = columns.reshape(batch, length, 5, heads).transpose(2, 0, 3, 1)
  kept = kept.reshape(2, batch, -1, heads, plan.size).sum(-1)
  return Gradients(
    x=plan.narrow(d_x),
    b=d_b.swapaxes(2, 3),
    c=d_c.swapaxes(2, 3),
    delta=columns[4],
    log=rows[2:],
    read=columns[:2],
    within=rows[:2],
    carried=columns[2:4],
    kept=kept.swapaxes(2, 3),
  )


def _states_kernel(weight, b, x, kept, start, out, state, *, each):
  j = pl.program_id(3)

  @pl.when(pl.program_id(2) == 0)
  def _():
    state[0, 0, j] = start[0, 0, 0]

  h = state[0, 0, j]
  out[0, 0, 0, 0] = h
  owner = owner_of(h.shape, each)
  added = jnp.zeros(h.shape, jnp.float32)
  for k in range(each):
    share = weight[0, 0, pl.ds(j * each + k, 1), :]
    weighted = (b[0, 0, 0].astype(jnp.float32) * share).astype(x.dtype)
    added = jnp.where(owner == k, dot(weighted, x[0]), added)
  state[0, 0, j] = kept[0, 0, 0, 0] * h + added


def _outputs_kernel(x, rows, columns, b, c, states, y, scores, *, plan):
  j, kind = pl.program_id(2), x.dtype

  @pl.when(rem(j, plan.per_group) == 0)
  def _():
    scores[...] = _scores(b, c)

  values = x[0]
  owner = owner_of(values.shape, plan.each)
  total = jnp.zeros(values.shape, jnp.float32)
  apart = [dot(c[d, 0, 0], states[d, 0, 0, 0].astype(kind)) for d in (0, 1)]
  for k in range(plan.each):
    head = Scalars(rows, columns, j * plan.each + k, plan.heads)
    part = dot(head.matrix(scores[...]).astype(kind), values)
    part += head.read[0] * apart[0] + head.read[1] * apart[1]
    total = jnp.where(owner == k, part, total)
  y[0] = total.astype(kind)


def _gradients_kernel(
  cotangent, x, rows, columns, b, c, states, later,
  d_x, d_b, d_c, row_out, column_out, kept, scores, d_scores, *, plan,
):  # fmt: skip
  j, kind, heads = pl.program_id(2), x.dtype, plan.heads

  @pl.when(j == 0)
  def _():
    column_out[...] = jnp.zeros(column_out.shape, jnp.float32)

  @pl.when(rem(j, plan.per_group) == 0)
  def _():
    scores[...] = _scores(b, c)
    d_scores[...] = jnp.zeros(d_scores.shape, jnp.float32)
    d_b[...] = jnp.zeros(d_b.shape, jnp.float32)
    d_c[...] = jnp.zeros(d_c.shape, jnp.float32)

  g, values = cotangent[0], x[0]
  g_float, x_float = g.astype(jnp.float32), values.astype(jnp.float32)
  owner = owner_of(g.shape, plan.each)
  h = [states[d, 0, 0, 0].astype(kind) for d in (0, 1)]
  after = [later[d, 0, 0, 0].astype(kind) for d in (0, 1)]
  reads = [dot(c[d, 0, 0], h[d]) for d in (0, 1)]
  adds = [dot(b[d, 0, 0], after[d]) for d in (0, 1)]
  nothing = jnp.zeros(g.shape, jnp.float32)
  total, read, carried = nothing, [nothing] * 2, [nothing] * 2
  slot = iota(column_out.shape[1:], 1)
  for k in range(plan.each):
    index = j * plan.each + k
    head = Scalars(rows, columns, index, heads)
    mine = owner == k
    ours = jnp.where(mine, g_float, 0.0)
    _pairs(head, ours.astype(kind), values, scores, d_scores, row_out, index)
    m = head.matrix(scores[...])
    part = dot(m.T.astype(kind), g)
    d_columns = [None] * 5
    for d in (0, 1):
      weight = head.column(5 + d)
      part += weight * adds[d]
      read[d] = jnp.where(mine, head.read[d], read[d])
      carried[d] = jnp.where(mine, weight, carried[d])
      d_columns[d] = head.read[d] * _sum(mine, reads[d] * g_float, 1)
      d_columns[2 + d] = _sum(mine, adds[d] * x_float, 1)
    d_columns[4] = _sum(mine, g_float * x_float, 1)
    total = jnp.where(mine, part, total)
    for i, value in enumerate(d_columns):
      here = slot == i * heads + index
      column_out[0] = jnp.where(here, value, column_out[0])
  d_x[0] = total.astype(kind)
  for d in (0, 1):
    d_c[d, 0, 0] += dot((g_float * read[d]).astype(kind), h[d], NT)
    d_b[d, 0, 0] += dot((x_float * carried[d]).astype(kind), after[d], NT)
    product = states[d, 0, 0, 0] * later[d, 0, 0, 0]
    kept[d, 0, 0, 0] = jnp.sum(product, axis=0, keepdims=True)

  @pl.when(rem(j, plan.per_group) == plan.per_group - 1)
  def _():
    size = d_scores.shape
    lower = iota(size, 0) > iota(size, 1)
    for d, inside in enumerate((lower, jnp.logical_not(lower))):
      part = jnp.where(inside, d_scores[...], 0.0)
      d_c[d, 0, 0] += dot(part.astype(kind), b[d, 0, 0])
      d_b[d, 0, 0] += dot(part.T.astype(kind), c[d, 0, 0])


def _pairs(head, ours, values, scores, d_scores, row_out, index):
  """Gradients through pairs of tokens of the chunk, of one head."""
  inside = dot(ours, values, NT) * head.decay
  d_scores[...] += inside * head.steps
  per_dt = inside * scores[...]
  logs = (per_dt * head.steps).astype(values.dtype)
  for d, (mine, other) in enumerate(
    ((head.lower, head.upper), (head.upper, head.lower))
  ):
    row_out[d, 0, pl.ds(index, 1), :] = _sum(mine, per_dt, 0)
    # Of pairs (i, j) on both sides of t: see xla.crossing.
    begun = dot(logs, other.astype(jnp.float32).astype(values.dtype))
    row_out[2 + d, 0, pl.ds(index, 1), :] = _sum(mine, begun, 0)


def _sum(mask, y, axis):
  return jnp.sum(jnp.where(mask, y, 0.0), axis=axis, keepdims=True)


def _scores(b, c):
  both = [dot(c[d, 0, 0], b[d, 0, 0], NT) for d in (0, 1)]
  shape = both[0].shape
  return jnp.where(iota(shape, 0) > iota(shape, 1), *both)


def _params(*semantics):
  return pltpu.CompilerParams(dimension_semantics=semantics)
