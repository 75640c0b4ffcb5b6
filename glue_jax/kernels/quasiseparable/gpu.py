"""Quasiseparable mixing for GPU (Triton).

  states     a program for a direction, a row, a head and 32 of its channels
             walks over the chunks, the state in registers
  outputs    a program for a chunk and a head
  gradients  a program for a chunk and up to 8 heads of a group, which it goes
             over twice: for what belongs to a head, then to sum B and C's

C B^T of every chunk and group is one small product by XLA, L Q G values. Head
and state widths are filled up to powers of two, at least 16 (a tensor core's
operand).

Shared memory holds operands of products, at Q = P = N = 64 16 KiB each in
float32: states 2 of them in 2 stages, 64 KiB; outputs at most 4, 64 KiB;
gradients at most 8, 128 KiB; a block of an A100 or H100 may have 163 or 227.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plt

from glue_jax.kernels.quasiseparable import reference
from glue_jax.kernels.quasiseparable.decays import Decays
from glue_jax.kernels.quasiseparable.xla import Gradients

CHUNKS = (16, 32, 64, 128)
LEAST, CHANNELS, MOST_HEADS = 16, 32, 8
_ALL = slice(None)


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
  """See xla.py; states come as (2, B, K, H, P', N')."""
  size, width = x.shape[3], b.shape[4]
  x, b, start = _filled(x), _filled(b), _filled(start, 2)
  batch, _, heads, wide = x.shape
  part = min(wide, CHANNELS)
  out, final = pl.pallas_call(
    functools.partial(
      _states_kernel, chunk=chunk, part=part, backward=backward
    ),
    grid=(2 * batch, heads, wide // part),
    out_shape=[
      _floats(2, batch, kept.shape[3], heads, *start.shape[3:]),
      _floats(*start.shape),
    ],
    compiler_params=plt.CompilerParams(num_warps=4, num_stages=2),
    interpret=interpret,
  )(weight, x, b, kept, start)
  return out, final[..., :size, :width]


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
  size = x.shape[3]
  x, c = _filled(x), _filled(c)
  batch, length, heads, _ = x.shape
  y = pl.pallas_call(
    functools.partial(_outputs_kernel, chunk=chunk),
    grid=(length // chunk, heads, batch),
    out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype),
    compiler_params=plt.CompilerParams(num_warps=4, num_stages=1),
    interpret=interpret,
  )(x, *_scalars(decays, delta), _scores(b, c, chunk), c, states)
  return y[..., :size]


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
  size, width = x.shape[3], b.shape[4]
  scores = _scores(b, c, chunk)
  cotangent, x, b, c = (_filled(y) for y in (cotangent, x, b, c))
  batch, length, heads, _ = x.shape
  groups, count = b.shape[3], length // chunk
  per_group = heads // groups
  each = max(n for n in range(1, MOST_HEADS + 1) if per_group % n == 0)
  parts = per_group // each
  partial_sums = _floats(2, batch, length, groups * parts, b.shape[4])
  scalars = _floats(9, batch, heads, length)
  d_x, d_b, d_c, d_scalars, kept = pl.pallas_call(
    functools.partial(
      _gradients_kernel, chunk=chunk, each=each, per_group=per_group
    ),
    grid=(count, groups * parts, batch),
    out_shape=[
      jax.ShapeDtypeStruct(x.shape, x.dtype),
      partial_sums,
      partial_sums,
      scalars,
      _floats(2, batch, heads, count),
    ],
    compiler_params=plt.CompilerParams(num_warps=8, num_stages=1),
    interpret=interpret,
  )(
    cotangent, x, *_scalars(decays, delta), decays.carried, scores, b, c,
    states, later,
  )  # fmt: skip

  def whole(y):
    return y.reshape(*y.shape[:3], groups, parts, -1).sum(4)

  return Gradients(
    x=d_x[..., :size],
    b=whole(d_b)[..., :width],
    c=whole(d_c)[..., :width],
    delta=d_scalars[8],
    log=d_scalars[:2],
    read=d_scalars[2:4],
    within=d_scalars[4:6],
    carried=d_scalars[6:8],
    kept=kept,
  )


class _Head:
  """A chunk's scalars and matrix of one head inside a kernel."""

  def __init__(self, at, dt, read, read_by, delta, scores, group):
    z, k, head, rows = at
    size = rows.size

    def vector(ref, *i):
      return _load(ref, *i, z, head, rows)

    i, j = jnp.arange(size)[:, None], jnp.arange(size)[None]
    self.lower, self.upper = i > j, i < j
    self.read, logs, steps = [], [], []
    for d in (0, 1):
      high, low = vector(read, 0, d), vector(read, 1, d)
      self.read.append(jnp.exp(high + low))
      high_by, low_by = vector(read_by, 0, d), vector(read_by, 1, d)
      logs.append(
        (high[:, None] - high_by[None]) + (low[:, None] - low_by[None])
      )
      steps.append(jnp.broadcast_to(vector(dt, d)[None], (size, size)))
    log = jnp.where(self.lower, logs[0], jnp.where(self.upper, logs[1], 0.0))
    self.decay = jnp.where(i == j, 0.0, jnp.exp(log))
    self.steps = jnp.where(self.lower, *steps)
    self.scores = _load(scores, z, k, group)
    m = self.scores * self.decay * self.steps
    self.matrix = jnp.where(i == j, vector(delta)[:, None], m)


def _states_kernel(
  weight, x, b, kept, start, out, final, *, chunk, part, backward
):
  batch, heads = x.shape[0], x.shape[2]
  d, z = _div(pl.program_id(0), batch), _rem(pl.program_id(0), batch)
  head = pl.program_id(1)
  group = _div(head, heads // b.shape[3])
  channels = pl.ds(pl.program_id(2) * part, part)
  count = kept.shape[3]

  def step(i, h):
    k = jnp.where((d == 1) == backward, i, count - 1 - i)
    rows = pl.ds(k * chunk, chunk)
    _store(out, (d, z, k, head, channels, _ALL), h)
    share = _load(weight, d, z, head, rows)
    values = _load(x, z, rows, head, channels)
    keys = _load(b, d, z, rows, group, _ALL)
    weighted = (values.astype(jnp.float32) * share[:, None]).astype(x.dtype)
    added = _dot(weighted, keys, trans_a=True)
    return _load(kept, d, z, head, k) * h + added

  h = _load(start, d, z, head, channels, _ALL)
  _store(
    final, (d, z, head, channels, _ALL), jax.lax.fori_loop(0, count, step, h)
  )


def _outputs_kernel(
  x, dt, read, read_by, delta, scores, c, states, y, *, chunk
):
  k, head, z = (pl.program_id(i) for i in range(3))
  rows = pl.ds(k * chunk, chunk)
  group = _div(head, x.shape[2] // c.shape[3])
  one = _Head((z, k, head, rows), dt, read, read_by, delta, scores, group)
  kind = x.dtype
  values = _load(x, z, rows, head, _ALL)
  total = _dot(one.matrix.astype(kind), values)
  for d in (0, 1):
    queries = _load(c, d, z, rows, group, _ALL)
    h = _load(states, d, z, k, head, _ALL, _ALL).astype(kind)
    total += one.read[d][:, None] * _dot(queries, h, trans_b=True)
  _store(y, (z, rows, head, _ALL), total.astype(kind))


def _gradients_kernel(
  cotangent, x, dt, read, read_by, delta, carried, scores, b, c, states, later,
  d_x, d_b, d_c, d_scalars, kept, *, chunk, each, per_group,
):  # fmt: skip
  k, part, z = (pl.program_id(i) for i in range(3))
  rows, kind = pl.ds(k * chunk, chunk), x.dtype
  group = _div(part * each, per_group)
  keys = [_load(b, d, z, rows, group, _ALL) for d in (0, 1)]
  queries = [_load(c, d, z, rows, group, _ALL) for d in (0, 1)]

  def tokens(ref, head):
    return _load(ref, z, rows, head, _ALL)

  def state(ref, d, head):
    return _load(ref, d, z, k, head, _ALL, _ALL)

  def scaled(ref, head, weight):
    by_token = tokens(ref, head).astype(jnp.float32) * weight[:, None]
    return by_token.astype(kind)

  def one(n, d_scores):
    head = part * each + n
    own = _Head((z, k, head, rows), dt, read, read_by, delta, scores, group)

    def keep(i, y):
      return _store(d_scalars, (i, z, head, rows), y)

    g, values = tokens(cotangent, head), tokens(x, head)
    g_float, x_float = g.astype(jnp.float32), values.astype(jnp.float32)
    d_scores += _pairs(own, g, values, keep)
    total = _dot(own.matrix.astype(kind), g, trans_a=True)
    for d in (0, 1):
      h, after = state(states, d, head), state(later, d, head)
      _store(kept, (d, z, head, k), jnp.sum(jnp.sum(h * after, 1), 0))
      reads = _dot(queries[d], h.astype(kind), trans_b=True)
      keep(2 + d, own.read[d] * jnp.sum(reads * g_float, axis=1))
      adds = _dot(keys[d], after.astype(kind), trans_b=True)
      keep(6 + d, jnp.sum(adds * x_float, axis=1))
      total += _load(carried, d, z, head, rows)[:, None] * adds
    keep(8, jnp.sum(g_float * x_float, axis=1))
    _store(d_x, (z, rows, head, _ALL), total.astype(kind))
    return d_scores

  nothing = jnp.zeros((chunk, chunk), jnp.float32)
  d_scores = jax.lax.fori_loop(0, each, one, nothing)
  below = jnp.arange(chunk)[:, None] > jnp.arange(chunk)[None]
  for d in (0, 1):
    inside = jnp.where(below == (d == 0), d_scores, 0.0).astype(kind)

    def add(n, sums, d=d):
      head = part * each + n
      high, low = (_load(read, i, d, z, head, rows) for i in (0, 1))
      share = _load(carried, d, z, head, rows)
      g = scaled(cotangent, head, jnp.exp(high + low))
      values = scaled(x, head, share)
      h, after = (state(ref, d, head).astype(kind) for ref in (states, later))
      return sums[0] + _dot(g, h), sums[1] + _dot(values, after)

    # The diagonal of `d_scores` is zero.
    start = _dot(inside, keys[d]), _dot(inside, queries[d], trans_a=True)
    d_queries, d_keys = jax.lax.fori_loop(0, each, add, start)
    _store(d_c, (d, z, rows, part, _ALL), d_queries)
    _store(d_b, (d, z, rows, part, _ALL), d_keys)


def _pairs(head, g, values, keep):
  """Gradients through pairs of tokens of the chunk; returns those of scores."""
  inside = _dot(g, values, trans_b=True) * head.decay
  per_dt = inside * head.scores
  logs = (per_dt * head.steps).astype(values.dtype)
  for d, (mine, other) in enumerate(
    ((head.lower, head.upper), (head.upper, head.lower))
  ):
    keep(4 + d, jnp.sum(jnp.where(mine, per_dt, 0.0), axis=0))
    # Of pairs (i, j) on both sides of t: see xla.crossing.
    begun = _dot(logs, jnp.where(other, 1.0, 0.0).astype(values.dtype))
    keep(d, jnp.sum(jnp.where(mine, begun, 0.0), axis=0))
  return inside * head.steps


def _scores(b, c, chunk):
  """C B^T of each chunk and group (B, K, G, Q, Q) float32."""

  def cut(y):
    return y.reshape(2, -1, chunk, *y.shape[3:])

  scores = reference.scores(cut(b), cut(c[..., : b.shape[-1]]))
  return scores.reshape(b.shape[1], -1, *scores.shape[1:])


def _scalars(decays, delta):
  delta = delta.astype(jnp.float32).swapaxes(1, 2)
  return decays.dt, decays.read, decays.read_by, delta


def _dot(one, two, trans_a=False, trans_b=False):
  """A product with float32 sums, in full precision for float32 inputs."""
  full = one.dtype == jnp.float32
  return jnp.dot(
    one.T if trans_a else one,
    two.T if trans_b else two,
    precision=jax.lax.Precision.HIGHEST if full else None,
    preferred_element_type=jnp.float32,
  )


def _filled(y, axes=1):
  """Fills the last axes with zeros up to powers of two."""
  more = [(0, max(LEAST, pl.next_power_of_2(n)) - n) for n in y.shape[-axes:]]
  return jnp.pad(y, [(0, 0)] * (y.ndim - axes) + more)


def _floats(*shape):
  return jax.ShapeDtypeStruct(shape, jnp.float32)


def _load(ref, *index):
  return plt.load(ref.at[_arrays(index)])


def _store(ref, index, value):
  plt.store(ref.at[_arrays(index)], value)


def _arrays(index):
  # The interpreter doesn't take numbers of Python.
  return tuple(jnp.int32(i) if isinstance(i, int) else i for i in index)


def _div(a, b):
  return jax.lax.div(a, jnp.int32(b))


def _rem(a, b):
  return jax.lax.rem(a, jnp.int32(b))
