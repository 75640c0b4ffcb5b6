"""Products with a table of distances for GPU (Triton).

A program's tile is one of 64 rows and 64 places of the table, not of 64 x 64
pairs: its product has no place too many, and row r is written from column
r + place - (L - 1) on, a run of 64 that begins one further each row. The
gradients read the pairs the same way. Each program owns what it writes: no
atomic addition, so every run gives the same bits.

XLA turns the pairs of a transposed product round, in what reads them.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plt

TILE, LEAST = 64, 16


def forward(
  x: jax.Array, table: jax.Array, *, transposed: bool, interpret: Any
) -> jax.Array:
  """`reference.by_distance`."""
  batch, heads, length, _ = x.shape
  other = table.shape[1] - length
  pairs = pl.pallas_call(
    _forward_kernel,
    grid=(pl.cdiv(length, TILE), _places(other), batch * heads),
    out_shape=jax.ShapeDtypeStruct((batch, heads, length, other), jnp.float32),
    compiler_params=plt.CompilerParams(num_warps=8),
    interpret=interpret,
  )(x, table)
  return pairs.swapaxes(2, 3) if transposed else pairs


def backward(
  d_pairs: jax.Array,
  x: jax.Array,
  table: jax.Array,
  *,
  transposed: bool,
  interpret: Any,
) -> tuple[jax.Array, jax.Array]:
  """Gradients of x (B, H, L, K) and of the table (H, L + M, K), float32."""
  if transposed:
    d_pairs = d_pairs.swapaxes(2, 3)
  batch, heads, length, width = x.shape
  params = plt.CompilerParams(num_warps=8)
  d_x = pl.pallas_call(
    _rows_kernel,
    grid=(pl.cdiv(length, TILE), batch * heads),
    out_shape=jax.ShapeDtypeStruct(x.shape, jnp.float32),
    compiler_params=params,
    interpret=interpret,
  )(d_pairs, table)
  parts = pl.pallas_call(
    functools.partial(_table_kernel, other=table.shape[1] - length),
    grid=(pl.cdiv(table.shape[1], TILE), batch * heads),
    out_shape=jax.ShapeDtypeStruct((batch, *table.shape), jnp.float32),
    compiler_params=params,
    interpret=interpret,
  )(d_pairs, x)
  return d_x, parts.sum(0)


def _forward_kernel(x, table, pairs):
  length, other = pairs.shape[2:]
  b, h = _row_and_head(x, 2)
  tile, step = pl.program_id(0), pl.program_id(1)
  rows = tile * TILE + jnp.arange(TILE)
  places = _first_place(tile, length) + step * TILE + jnp.arange(TILE)
  products = plt.dot(
    _load(x, (b, h), rows),
    _load(table, (h,), places),
    trans_b=True,
    precision=_precision(x.dtype),
  )
  at, real = _pairs(rows, places, length, other)
  plt.store(pairs.at[b, h, *at], products, mask=real)


def _rows_kernel(d_pairs, table, d_x):
  length, other = d_pairs.shape[2:]
  b, h = _row_and_head(d_pairs, 1)
  tile = pl.program_id(0)
  rows = tile * TILE + jnp.arange(TILE)

  def step(w, total):
    places = _first_place(tile, length) + w * TILE + jnp.arange(TILE)
    d_products = _load_pairs(d_pairs, (b, h), rows, places, table.dtype)
    share = _load(table, (h,), places)
    return total + plt.dot(d_products, share, precision=_precision(table.dtype))

  zero = jnp.zeros((TILE, _power(d_x.shape[3])), jnp.float32)
  total = jax.lax.fori_loop(0, _places(other), step, zero)
  _store(d_x, (b, h), rows, total)


def _table_kernel(d_pairs, x, d_table, *, other):
  length = x.shape[2]
  b, h = _row_and_head(x, 1)
  first = pl.program_id(0) * TILE
  places = first + jnp.arange(TILE)

  def step(tile, total):
    rows = tile * TILE + jnp.arange(TILE)
    d_products = _load_pairs(d_pairs, (b, h), rows, places, x.dtype)
    return total + plt.dot(
      d_products,
      _load(x, (b, h), rows),
      trans_a=True,
      precision=_precision(x.dtype),
    )

  # Row i has the places from L - 1 - i to L - 1 - i + M - 1.
  begin = jnp.clip(length - TILE - first, 0, length)
  end = jnp.clip(length - 1 + other - first, 0, length)
  zero = jnp.zeros((TILE, _power(x.shape[3])), jnp.float32)
  total = jax.lax.fori_loop(
    jax.lax.div(begin, TILE), pl.cdiv(end, TILE), step, zero
  )
  _store(d_table, (b, h), places, total)


def _first_place(tile, length):
  """That of the tile's last row with column 0; below 0 where L ends before."""
  return length - (tile + 1) * TILE


def _places(other):
  """Tiles of places that a tile of rows meets."""
  return pl.cdiv(other + TILE - 1, TILE)


def _pairs(rows, places, length, other):
  """Where rows and places meet in (L, M), and whether they do."""
  columns = rows[:, None] + places[None] - (length - 1)
  real = (rows < length)[:, None] & (columns >= 0) & (columns < other)
  return (rows[:, None], columns), real


def _load_pairs(d_pairs, lead, rows, places, dtype):
  at, real = _pairs(rows, places, *d_pairs.shape[2:])
  pairs = plt.load(d_pairs.at[*lead, *at], mask=real, other=0.0)
  return pairs.astype(dtype)


def _load(x, lead, rows):
  """(TILE, K) of (..., N, K), zeros beyond; K filled to a power of two."""
  at, real = _block(x.shape[-2:], rows)
  return plt.load(x.at[*lead, *at], mask=real, other=0.0)


def _store(x, lead, rows, block):
  at, real = _block(x.shape[-2:], rows)
  plt.store(x.at[*lead, *at], block, mask=real)


def _block(shape, rows):
  columns = jnp.arange(_power(shape[1]))[None]
  real = ((rows >= 0) & (rows < shape[0]))[:, None] & (columns < shape[1])
  return (rows[:, None], columns), real


def _row_and_head(x, axis):
  """The batch's row and the head of a program: b H + h along an axis."""
  both, heads = pl.program_id(axis), x.shape[1]
  return jax.lax.div(both, heads), jax.lax.rem(both, heads)


def _precision(dtype):
  return jax.lax.Precision.HIGHEST if dtype == jnp.float32 else None


def _power(count):
  return max(LEAST, 1 << (count - 1).bit_length())
