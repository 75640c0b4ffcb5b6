"""PoNet's pooling for TPU (Mosaic): one program for a row and 128 channels.

A program holds (L, 128) blocks and goes over them in tiles of `TILE` rows.
A row of contiguous segments: a running maximum reset at each change of label,
from the left and from the right (log2(TILE) shifts a tile, and a carry between
tiles). A row of other labels: one masked maximum a label, labels x L work.
Unless all rows are promised to be contiguous, a program looks which its row is.

VMEM (`vmem_bytes`): the pipeline holds each block twice, the labels' one lane
takes a whole register, and the backward pass has three scratch arrays. In
float32 that is 7.5 KiB a token, 3.8 MiB at L = 512, 30 MiB at 4096, 120 MiB at
16384; in bfloat16 5 KiB, 2.5, 20 and 80 MiB. A chip with 128 MiB (v5e, v6e)
serves all of these, one with 64 MiB (v5p) L <= 8192, one with 16 MiB L <= 2048.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

LANES, TILE = 128, 128
# Two low bits of a code are the token's kind, the others its label.
_KIND_BITS = 2
_ORDINARY, _PAD = 1, 0
# In place of a row's number of labels: each of them is one run.
_RUNS = 0
# For what the compiler itself keeps there.
_RESERVE = 2**20


def vmem_bytes(length: int, itemsize: int) -> int:
  """What the backward pass, the larger one, holds for rows of a length.

  Args:
    length: L.
    itemsize: bytes of an element of gate and segment.

  Returns:
    Bytes of VMEM.
  """
  rows = pl.cdiv(length, TILE) * TILE
  blocks, labels, scratch = 5 * 2 * itemsize, 2 * 4, 3 * 4
  return rows * LANES * (blocks + labels + scratch)


def fits(length: int, itemsize: int) -> bool:
  """Whether the chip at hand has that much."""
  capacity = pltpu.get_tpu_info().vmem_capacity_bytes
  return vmem_bytes(length, itemsize) <= capacity - _RESERVE


def forward(
  token: jax.Array,
  gate: jax.Array,
  segment: jax.Array,
  local: jax.Array,
  labels: jax.Array,
  kind: jax.Array,
  *,
  contiguous: bool,
  interpret: bool,
) -> jax.Array:
  """P (B, L, D); arguments as in `segment_pooling`, with dense labels."""
  shape = gate.shape
  code, count = _codes(labels, kind)
  gate, segment, local = (_padded(x) for x in (gate, segment, local))
  grid, row, counts = _grid(gate.shape)
  kernel = functools.partial(_forward_kernel, contiguous=contiguous)
  out = pl.pallas_call(
    kernel,
    grid=grid,
    in_specs=[
      counts,
      pl.BlockSpec((1, 1, LANES), lambda b, d: (b, 0, d)),
      row,
      row,
      row,
      _code_spec(gate.shape),
    ],
    out_specs=row,
    out_shape=jax.ShapeDtypeStruct(gate.shape, gate.dtype),
    scratch_shapes=[pltpu.VMEM((gate.shape[1], LANES), jnp.float32)],
    compiler_params=_params(gate),
    interpret=interpret,
  )(count, _padded_lanes(token[:, None]), gate, segment, local, code)
  return out[:, : shape[1], : shape[2]]


def backward(
  cotangent: jax.Array,
  token: jax.Array,
  gate: jax.Array,
  segment: jax.Array,
  labels: jax.Array,
  kind: jax.Array,
  *,
  contiguous: bool,
  interpret: bool,
) -> tuple[jax.Array, jax.Array]:
  """Gradients of gate and segment (B, L, D); zero cotangent at padding."""
  shape = gate.shape
  code, count = _codes(labels, kind)
  types = gate.dtype, segment.dtype
  cotangent, gate, segment = (_padded(x) for x in (cotangent, gate, segment))
  grid, row, counts = _grid(gate.shape)
  scratch = pltpu.VMEM((gate.shape[1], LANES), jnp.float32)
  d_gate, d_segment = pl.pallas_call(
    functools.partial(_backward_kernel, contiguous=contiguous),
    grid=grid,
    in_specs=[
      counts,
      row,
      pl.BlockSpec((1, 1, LANES), lambda b, d: (b, 0, d)),
      row,
      row,
      _code_spec(gate.shape),
    ],
    out_specs=[row, row],
    out_shape=[jax.ShapeDtypeStruct(gate.shape, t) for t in types],
    scratch_shapes=[scratch, scratch, scratch],
    compiler_params=_params(gate),
    interpret=interpret,
  )(count, cotangent, _padded_lanes(token[:, None]), gate, segment, code)

  def cut(x):
    return x[:, : shape[1], : shape[2]]

  return cut(d_gate), cut(d_segment)


def _forward_kernel(
  count, token, gate, segment, local, code, out, pooled, *, contiguous
):
  length = gate.shape[1]
  low = jnp.finfo(jnp.float32).min
  _segment_reduce(
    lambda rows: _values(segment, code, rows, low),
    code, count[pl.program_id(0), 0], pooled, jnp.maximum, low, contiguous,
  )  # fmt: skip

  def fuse(i, _):
    rows = pl.ds(i * TILE, TILE)
    kind = code[0, rows] & _mask()
    ordinary = kind == _ORDINARY
    window = _window_max(local, code, i, length, low)
    s = jnp.where(ordinary, pooled[rows], 0.0)
    m = jnp.where(ordinary, window, 0.0)
    o = gate[0, rows].astype(jnp.float32)
    p = (token[0].astype(jnp.float32) + s) * o + m
    out[0, rows] = jnp.where(kind == _PAD, 0.0, p).astype(out.dtype)

  _for(length // TILE, fuse)


def _backward_kernel(
  count, cotangent, token, gate, segment, code,
  d_gate, d_segment, pooled, total, tied, *, contiguous,
):  # fmt: skip
  length = gate.shape[1]
  low = jnp.finfo(jnp.float32).min

  def read(rows):
    return _values(segment, code, rows, low)

  reduce = functools.partial(
    _segment_reduce,
    code=code,
    count=count[pl.program_id(0), 0],
    contiguous=contiguous,
  )
  reduce(read, out=pooled, op=jnp.maximum, start=low)

  def reader_gradient(rows):
    ordinary = (code[0, rows] & _mask()) == _ORDINARY
    g = cotangent[0, rows].astype(jnp.float32)
    o = gate[0, rows].astype(jnp.float32)
    return jnp.where(ordinary, g * o, 0.0)

  def is_max(rows):
    valid = (code[0, rows] & _mask()) != _PAD
    return jnp.where(valid & (read(rows) == pooled[rows]), 1.0, 0.0)

  reduce(reader_gradient, out=total, op=jnp.add, start=0.0)
  reduce(is_max, out=tied, op=jnp.add, start=0.0)

  def write(i, _):
    rows = pl.ds(i * TILE, TILE)
    ordinary = (code[0, rows] & _mask()) == _ORDINARY
    g = cotangent[0, rows].astype(jnp.float32)
    s = jnp.where(ordinary, pooled[rows], 0.0)
    value = g * (token[0].astype(jnp.float32) + s)
    d_gate[0, rows] = value.astype(d_gate.dtype)
    share = is_max(rows) * total[rows] / jnp.maximum(tied[rows], 1.0)
    d_segment[0, rows] = share.astype(d_segment.dtype)

  _for(length // TILE, write)


def _segment_reduce(
  read: Callable[[Any], jax.Array],
  code: Any,
  count: jax.Array,
  out: Any,
  op: Callable[[jax.Array, jax.Array], jax.Array],
  start: float,
  contiguous: bool,
) -> None:
  """Reduces `read` over each segment into `out` (L, LANES), at each token."""
  tiles = out.shape[0] // TILE
  runs = functools.partial(_reduce_runs, read, code, out, op, start, tiles)
  if contiguous:
    runs()
    return
  pl.when(count == _RUNS)(runs)

  @pl.when(count != _RUNS)
  def _():
    _reduce_table(read, code, count, out, op, start, tiles)


def _reduce_table(read, code, count, out, op, start, tiles):
  whole = jnp.max if op is jnp.maximum else jnp.sum

  def clear(i, _):
    out[pl.ds(i * TILE, TILE)] = jnp.full((TILE, LANES), start, jnp.float32)

  _for(tiles, clear)

  def one_label(label, _):
    def collect(i, value):
      rows = pl.ds(i * TILE, TILE)
      here = (code[0, rows] >> _KIND_BITS) == label
      part = whole(jnp.where(here, read(rows), start), axis=0, keepdims=True)
      return op(value, part)

    first = jnp.full((1, LANES), start, jnp.float32)
    value = jax.lax.fori_loop(0, tiles, collect, first)

    def spread(i, _):
      rows = pl.ds(i * TILE, TILE)
      here = (code[0, rows] >> _KIND_BITS) == label
      out[rows] = jnp.where(here, value, out[rows])

    _for(tiles, spread)

  _for(count, one_label)


def _reduce_runs(read, code, out, op, start, tiles):
  """Scans from the left into `out`, then from the right, and joins them."""

  def tile(i, carry, left):
    rows = pl.ds(i * TILE, TILE)
    value = read(rows)
    label = jnp.broadcast_to(code[0, rows] >> _KIND_BITS, value.shape)
    scanned = _scan_runs(value, label, op, left)
    before, before_label = carry
    scanned = jnp.where(label == before_label, op(scanned, before), scanned)
    edge = slice(TILE - 1, TILE) if left else slice(0, 1)
    return rows, value, scanned, (scanned[edge], label[edge])

  none = jnp.full((1, LANES), start, jnp.float32)
  nowhere = none, jnp.full((1, LANES), -1, jnp.int32)

  def from_left(i, carry):
    rows, _, scanned, carry = tile(i, carry, True)
    out[rows] = scanned
    return carry

  jax.lax.fori_loop(0, tiles, from_left, nowhere)

  def from_right(i, carry):
    rows, value, scanned, carry = tile(tiles - 1 - i, carry, False)
    joined = op(out[rows], scanned)
    # A sum has counted the token itself from both sides.
    out[rows] = joined - value if op is jnp.add else joined
    return carry

  jax.lax.fori_loop(0, tiles, from_right, nowhere)


def _scan_runs(value, label, op, left):
  """Inclusive scan down (left) or up the rows of a tile within its runs."""
  row = jax.lax.broadcasted_iota(jnp.int32, value.shape, 0)
  shift = 1
  while shift < TILE:
    by = shift if left else TILE - shift  # a roll to the left
    inside = row >= shift if left else row < TILE - shift
    same = inside & (pltpu.roll(label, by, 0) == label)
    value = jnp.where(same, op(value, pltpu.roll(value, by, 0)), value)
    shift *= 2
  return value


def _window_max(local, code, i, length, low):
  """Maximum over a tile's tokens and their neighbours."""
  tiles = length // TILE

  def hidden(j):
    return _values(local, code, pl.ds(j * TILE, TILE), low, ordinary_only=True)

  here = hidden(i)
  # Neighbouring tiles are clamped at the ends, and hidden there.
  before = hidden(jnp.maximum(i - 1, 0))[TILE - 1 :]
  after = hidden(jnp.minimum(i + 1, tiles - 1))[:1]
  before = jnp.where(i > 0, before, low)
  after = jnp.where(i < tiles - 1, after, low)
  row = jax.lax.broadcasted_iota(jnp.int32, here.shape, 0)
  left = jnp.where(row == 0, before, pltpu.roll(here, 1, 0))
  right = jnp.where(row == TILE - 1, after, pltpu.roll(here, TILE - 1, 0))
  return jnp.maximum(jnp.maximum(left, here), right)


def _values(ref, code, rows, low, ordinary_only=False):
  """A tile in float32 with hidden tokens at the lowest value."""
  kind = code[0, rows] & _mask()
  seen = kind == _ORDINARY if ordinary_only else kind != _PAD
  return jnp.where(seen, ref[0, rows].astype(jnp.float32), low)


def _for(count, body):
  """Runs body(i, None) for its effects."""
  jax.lax.fori_loop(0, count, lambda i, _: body(i, None), None)


def _mask():
  return (1 << _KIND_BITS) - 1


def _codes(labels, kind):
  """Labels and kinds as (B, L', 1) int32, and labels a row (B, 1) or _RUNS."""
  code = (labels.astype(jnp.int32) << _KIND_BITS) | kind.astype(jnp.int32)
  count = labels.max(axis=1, keepdims=True).astype(jnp.int32) + 1
  changes = (labels[:, 1:] != labels[:, :-1]).sum(1, keepdims=True)
  count = jnp.where(changes + 1 == count, _RUNS, count)
  # Rows added to fill a tile are padding with a label of their own.
  extra = -code.shape[1] % TILE
  fill = (code.shape[1] << _KIND_BITS) | _PAD
  code = jnp.pad(code, ((0, 0), (0, extra)), constant_values=fill)
  return code[..., None], count


def _padded(x):
  return _padded_lanes(jnp.pad(x, ((0, 0), (0, -x.shape[1] % TILE), (0, 0))))


def _padded_lanes(x):
  return jnp.pad(x, ((0, 0), (0, 0), (0, -x.shape[2] % LANES)))


def _grid(shape):
  grid = (shape[0], shape[2] // LANES)
  row = pl.BlockSpec((1, shape[1], LANES), lambda b, d: (b, 0, d))
  counts = pl.BlockSpec(memory_space=pltpu.SMEM)  # those of all rows
  return grid, row, counts


def _code_spec(shape):
  return pl.BlockSpec((1, shape[1], 1), lambda b, _: (b, 0, 0))


def _params(gate):
  return pltpu.CompilerParams(
    dimension_semantics=('parallel', 'parallel'),
    vmem_limit_bytes=vmem_bytes(gate.shape[1], gate.dtype.itemsize) + _RESERVE,
  )
