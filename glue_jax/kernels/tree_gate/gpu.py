"""The tree gate for GPU (Triton): one program for 64 tokens.

A program multiplies (64, D) of x, in steps of 64 channels, by all splits and
all leaves, both padded to a power of two of at least 16 columns, and goes on
in registers. Triton has no indexing of registers: a column is taken out by a
masked sum and put back by a mask, a few operations a value, an order less than
the products with D channels.

Registers: at n = 16, k = 2 three blocks of (64, 32) float32, 48 a thread of
128; shared memory holds a step of x and the maps, 64 x 64 x 3 x 4 = 48 KiB.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plt

from glue_jax.kernels.tree_gate import math

TILE, STEP, LEAST = 64, 64, 16
_EXACT = jax.lax.Precision.HIGHEST


def sizes(shape: math.Shape) -> tuple[int, int, int]:
  """Columns of the blocks of splits, leaves and experts: powers of two."""
  n, k = shape.experts, shape.trees
  return _power(k * (n - 1)), _power(k * n), _power(n)


def forward(
  shape: math.Shape,
  keep: int,
  x: jax.Array,
  maps: jax.Array,
  bias: jax.Array,
  matrix: jax.Array,
  *,
  interpret: bool,
) -> tuple[jax.Array, ...]:
  """Runs the gate; arguments and results as in tree_gate_tpu."""
  tokens, _ = x.shape
  floats = jnp.float32
  struct = jax.ShapeDtypeStruct
  weights, entropy, index, top, values = pl.pallas_call(
    functools.partial(_forward_kernel, shape=shape, keep=keep),
    grid=(pl.cdiv(tokens, TILE),),
    out_shape=[
      struct((tokens, shape.experts), floats),
      struct((tokens,), floats),
      struct((tokens, keep), jnp.int32),
      struct((tokens, keep), floats),
      struct((maps.shape[0], tokens), floats),
    ],
    compiler_params=plt.CompilerParams(num_warps=4),
    interpret=interpret,
  )(x, maps.T, bias, matrix.T)
  return weights, entropy, index, top, values


def backward(
  shape: math.Shape,
  values: jax.Array,
  matrix: jax.Array,
  d_weights: jax.Array,
  d_entropy: jax.Array,
  *,
  interpret: bool,
) -> tuple[jax.Array, jax.Array]:
  """Gradients of the maps' values (S + P, T) and of the matrix (E, P)."""
  programs = pl.cdiv(values.shape[1], TILE)
  d_values, parts = pl.pallas_call(
    functools.partial(_backward_kernel, shape=shape),
    grid=(programs,),
    out_shape=[
      jax.ShapeDtypeStruct(values.shape, jnp.float32),
      jax.ShapeDtypeStruct((programs, *matrix.T.shape), jnp.float32),
    ],
    compiler_params=plt.CompilerParams(num_warps=4),
    interpret=interpret,
  )(values, matrix.T, d_weights, d_entropy)
  return d_values, parts.sum(0).T


def _forward_kernel(
  x, maps, bias, matrix, weights, entropy, index, top, values, *, shape, keep
):
  splits, leaves, _ = sizes(shape)
  rows, live = _tokens(x.shape[0])
  u = _linear(x, maps, bias, rows, live, 0, splits)
  a = _linear(x, maps, bias, rows, live, splits, leaves)
  _store(values, u, rows, live, 0)
  _store(values, a, rows, live, splits)
  combined, spread = math.combine(shape, LAYOUT, u, a, _block(matrix))
  columns = jnp.arange(combined.shape[1])
  real = live[:, None] & (columns < shape.experts)[None]
  plt.store(weights.at[rows[:, None], columns[None]], combined, mask=real)
  plt.store(entropy.at[rows], _flat(spread), mask=live)
  for i, (at, value) in enumerate(math.best(LAYOUT, combined, keep)):
    plt.store(index.at[rows, i], _flat(at), mask=live)
    plt.store(top.at[rows, i], _flat(value), mask=live)


def _backward_kernel(
  values, matrix, d_weights, d_entropy, d_values, parts, *, shape
):
  splits, leaves, size = sizes(shape)
  rows, live = _tokens(values.shape[1])
  u = _load(values, rows, live, 0, splits)
  a = _load(values, rows, live, splits, leaves)
  columns = jnp.arange(size)
  real = live[:, None] & (columns < shape.experts)[None]
  at = d_weights.at[rows[:, None], columns[None]]
  d_found = plt.load(at, mask=real, other=0.0)
  d_spread = plt.load(d_entropy.at[rows], mask=live, other=0.0)[:, None]
  d_u, d_a, share, d_raw = math.combine_gradient(
    shape, LAYOUT, u, a, _block(matrix), d_found, d_spread
  )
  _store(d_values, d_u, rows, live, 0)
  _store(d_values, d_a, rows, live, splits)
  # Tokens beyond the end have no gradient of their weights.
  part = plt.dot(share, d_raw, trans_a=True, precision=_EXACT)
  plt.store(parts.at[pl.program_id(0)], part)


def _linear(x, maps, bias, rows, live, start, count):
  """x times some of the maps: (TILE, count)."""
  columns = start + jnp.arange(count)
  width = x.shape[1]

  def step(i, total):
    channels = i * STEP + jnp.arange(STEP)
    inside = channels < width
    left = plt.load(
      x.at[rows[:, None], channels[None]],
      mask=live[:, None] & inside[None], other=0.0,
    )  # fmt: skip
    right = plt.load(
      maps.at[channels[:, None], columns[None]],
      mask=inside[:, None] & (columns >= 0)[None], other=0.0,
    )  # fmt: skip
    return total + plt.dot(left.astype(jnp.float32), right, precision=_EXACT)

  zero = jnp.zeros((TILE, count), jnp.float32)
  total = jax.lax.fori_loop(0, pl.cdiv(width, STEP), step, zero)
  return total + plt.load(bias.at[columns])[None]


def _tokens(count):
  rows = pl.program_id(0) * TILE + jnp.arange(TILE)
  return rows, rows < count


def _load(values, rows, live, start, count):
  columns = start + jnp.arange(count)
  at = values.at[columns[None], rows[:, None]]
  mask = live[:, None] & (columns >= 0)[None]
  return plt.load(at, mask=mask, other=0.0)


def _store(values, block, rows, live, start):
  columns = start + jnp.arange(block.shape[1])
  at = values.at[columns[None], rows[:, None]]
  plt.store(at, block, mask=live[:, None] & (columns >= 0)[None])


def _block(matrix):
  rows, columns = (jnp.arange(size) for size in matrix.shape)
  return plt.load(matrix.at[rows[:, None], columns[None]])


def _flat(column):
  return jnp.sum(column, axis=1)


def _split(block, count):
  column = jax.lax.broadcasted_iota(jnp.int32, block.shape, 1)

  def take(i):
    return jnp.where(column == i, block, 0.0)

  return [jnp.sum(take(i), axis=1) for i in range(count)]


def _join(vectors, size):
  shape = (vectors[0].shape[0], size)
  column = jax.lax.broadcasted_iota(jnp.int32, shape, 1)
  block = jnp.zeros(shape, jnp.float32)
  for i, vector in enumerate(vectors):
    block = jnp.where(column == i, vector[:, None], block)
  return block


LAYOUT = math.Layout(
  axis=1,
  split=_split,
  join=_join,
  contract=lambda share, matrix: plt.dot(share, matrix, precision=_EXACT),
  contract_back=lambda d_raw, matrix: plt.dot(
    d_raw, matrix, trans_b=True, precision=_EXACT
  ),
)


def _power(count):
  return max(LEAST, 1 << (count - 1).bit_length())
