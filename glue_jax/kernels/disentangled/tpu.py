"""Products with a table of distances for TPU (Mosaic).

A tile of 128 x 128 pairs has 255 distances, which are two neighbouring blocks
of the table: in the product with both, row r of the tile begins at place
127 - r. A select takes what lies in either block and one rotation of the lanes,
by a row's own number, puts it in order; the gradient goes the same way back.
Neighbouring tiles share a block, so a program with n of them makes n + 1
products.

VMEM (`vmem_bytes`, of the backward pass): a head's whole table and its gradient
and a row of tiles, all twice. At L = M and K = 64 in bfloat16: 5 MiB at 512,
17 MiB at 4096, 53 MiB at 16384.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

# Of a tile: the lanes of a register, which is what a rotation goes round.
TILE = 128
# Tiles of a program: a step of the grid costs as much as a tile.
_MOST = 8
# For what the compiler itself keeps there.
_RESERVE = 2**20
# Contract the last axes of both operands, the first ones, the inner ones.
_LAST, _FIRST, _INNER = (
  (axes, ((), ())) for axes in (((1,), (1,)), ((0,), (0,)), ((1,), (0,)))
)


def vmem_bytes(length: int, other: int, width: int, itemsize: int) -> int:
  """What the backward pass, the larger one, holds.

  Args:
    length: L.
    other: M.
    width: K.
    itemsize: bytes of an element of x and of the table.

  Returns:
    Bytes of VMEM.
  """
  rows, tiles, steps = _sizes(length, other)
  lanes = pl.cdiv(width, TILE) * TILE
  table = (rows + tiles * steps) * TILE * lanes * (itemsize + 4)
  x = TILE * lanes * (itemsize + 4)
  pairs = tiles * TILE * TILE * 4
  # The pipeline's two of each, and the blocks that are being worked on.
  return 2 * (table + x + pairs) + pairs


def fits(length: int, other: int, width: int, itemsize: int) -> bool:
  """Whether the chip at hand has that much."""
  capacity = pltpu.get_tpu_info().vmem_capacity_bytes
  return vmem_bytes(length, other, width, itemsize) <= capacity - _RESERVE


def forward(
  x: jax.Array, table: jax.Array, *, transposed: bool, interpret: Any
) -> jax.Array:
  """`reference.by_distance`."""
  plan = _Plan(x, table, transposed)
  pairs = pl.pallas_call(
    functools.partial(_forward_kernel, plan=plan),
    grid=plan.grid,
    in_specs=[plan.rows, plan.table],
    out_specs=plan.pairs,
    out_shape=jax.ShapeDtypeStruct(plan.shape, jnp.float32),
    compiler_params=plan.params,
    interpret=interpret,
  )(plan.x, plan.by_place)
  length, other = x.shape[2], table.shape[1] - x.shape[2]
  if transposed:
    return pairs[:, :, :other, :length]
  return pairs[:, :, :length, :other]


def backward(
  d_pairs: jax.Array,
  x: jax.Array,
  table: jax.Array,
  *,
  transposed: bool,
  interpret: Any,
) -> tuple[jax.Array, jax.Array]:
  """Gradients of x (B, H, L, K) and of the table (H, L + M, K), float32."""
  plan = _Plan(x, table, transposed)
  d_x, d_table = pl.pallas_call(
    functools.partial(_backward_kernel, plan=plan),
    grid=plan.grid,
    in_specs=[plan.pairs, plan.rows, plan.table],
    out_specs=[plan.rows, plan.table],
    out_shape=[
      jax.ShapeDtypeStruct(plan.x.shape, jnp.float32),
      jax.ShapeDtypeStruct(plan.by_place.shape, jnp.float32),
    ],
    compiler_params=plan.params,
    interpret=interpret,
  )(_padded(d_pairs, plan.shape), plan.x, plan.by_place)
  length = x.shape[2]
  before = plan.x.shape[2] - length
  return d_x[:, :, :length], d_table[:, before : before + table.shape[1]]


class _Plan:
  """Arrays in whole tiles, blocks and grid of both passes."""

  def __init__(self, x, table, transposed):
    batch, heads, length, width = x.shape
    other = table.shape[1] - length
    self.tall, self.tiles, steps = _sizes(length, other)
    self.transposed = transposed
    size = self.tiles * TILE
    rows, columns = self.tall * TILE, steps * size
    self.x = _padded(x, (batch, heads, rows, width))
    before = rows - length
    after = columns - other
    self.by_place = jnp.pad(table, ((0, 0), (before, after), (0, 0)))
    # The rows of a batch go inside: a head's table is fetched once.
    self.grid = heads, batch, self.tall, steps
    self.rows = pl.BlockSpec(
      (1, 1, TILE, width), lambda h, b, i, _: (b, h, i, 0)
    )
    self.table = pl.BlockSpec(
      (1, rows + columns, width), lambda h, *_: (h, 0, 0)
    )
    if transposed:
      self.shape = batch, heads, columns, rows
      self.pairs = pl.BlockSpec(
        (1, 1, size, TILE), lambda h, b, i, j: (b, h, j, i)
      )
    else:
      self.shape = batch, heads, rows, columns
      self.pairs = pl.BlockSpec(
        (1, 1, TILE, size), lambda h, b, i, j: (b, h, i, j)
      )
    held = vmem_bytes(length, other, width, x.dtype.itemsize)
    self.params = pltpu.CompilerParams(
      dimension_semantics=('parallel', *['arbitrary'] * 3),
      vmem_limit_bytes=held + _RESERVE,
    )

  def block(self, c):
    """The first of the table's two blocks that a program's tile c meets."""
    first = self.tall - 1 - pl.program_id(2) + pl.program_id(3) * self.tiles
    return pl.ds(pl.multiple_of((first + c) * TILE, TILE), TILE)

  def tile(self, c):
    """Indices of tile c of a program's block, as it is stored."""
    along = pl.ds(c * TILE, TILE)
    return (0, 0, along) if self.transposed else (0, 0, slice(None), along)

  def turned(self, tile):
    """A tile as it is stored from one with i first, and back."""
    return tile.T if self.transposed else tile


def _forward_kernel(x, table, pairs, *, plan):
  left = _dot(x[0, 0], table[0, plan.block(0)], _LAST)
  for c in range(plan.tiles):
    right = _dot(x[0, 0], table[0, plan.block(c + 1)], _LAST)
    tile = _rotated(jnp.where(_in_first(), left, right), -1)
    pairs[plan.tile(c)] = plan.turned(tile)
    left = right


def _backward_kernel(d_pairs, x, table, d_x, d_table, *, plan):
  batch, i, j = (pl.program_id(axis) for axis in (1, 2, 3))

  @pl.when(j == 0)
  def _():
    d_x[...] = jnp.zeros_like(d_x)

  @pl.when((batch == 0) & (i == 0) & (j == 0))
  def _():
    d_table[...] = jnp.zeros_like(d_table)

  own, total = x[0, 0], d_x[0, 0]
  none = left = jnp.zeros((TILE, TILE), jnp.float32)
  for c in range(plan.tiles + 1):
    last = c == plan.tiles
    right = none if last else _rotated(plan.turned(d_pairs[plan.tile(c)]), 1)
    d_products = jnp.where(_in_first(), right, left).astype(own.dtype)
    block = plan.block(c)
    total += _dot(d_products, table[0, block], _INNER)
    d_table[0, block] += _dot(d_products, own, _FIRST)
    left = right
  d_x[0, 0] = total


def _in_first():
  """Where a product with the first of two blocks is one of the tile."""
  return _iota(0) + _iota(1) >= TILE - 1


def _rotated(tile, way):
  """Row r goes r + 1 lanes to the right (way -1) or to the left (way 1)."""
  lane = _iota(1) + way * (_iota(0) + 1)
  return jnp.take_along_axis(tile, lane & (TILE - 1), axis=1)


def _iota(axis):
  return jax.lax.broadcasted_iota(jnp.int32, (TILE, TILE), axis)


def _dot(one, two, dimensions):
  """A product with float32 sums, in full precision for float32 inputs."""
  full = one.dtype == jnp.float32
  return jax.lax.dot_general(
    one,
    two,
    dimensions,
    precision=jax.lax.Precision.HIGHEST if full else None,
    preferred_element_type=jnp.float32,
  )


def _sizes(length, other):
  """Tiles of L; tiles of M that a program has, and its steps."""
  across = pl.cdiv(other, TILE)
  steps = pl.cdiv(across, _MOST)
  return pl.cdiv(length, TILE), pl.cdiv(across, steps), steps


def _padded(x, shape):
  return jnp.pad(x, [(0, to - n) for n, to in zip(x.shape, shape)])
