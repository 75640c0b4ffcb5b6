"""The tree gate for TPU (Mosaic): one program for a tile of tokens.

Tokens lie along the lanes and nodes along the rows, so that a node of the
trees is a row of registers and a path a product of rows. One program reads
(TILE, D) of x, multiplies it by all splits and leaves on the matrix unit, and
writes n weights, `keep` of them with their indices, and the entropy.

VMEM: `vmem_bytes`; x and the maps doubled by the pipeline, and about a dozen
blocks of (rows, TILE). At D = 1024, n = 16, k = 4 in float32 7.4 MiB, within
the 16 MiB of every chip.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from glue_jax.kernels.tree_gate import math

TILE, LANES, SUBLANES = 512, 128, 8
_EXACT = jax.lax.Precision.HIGHEST


def sizes(shape: math.Shape) -> tuple[int, int, int]:
  """Rows of the blocks of splits, leaves and experts."""
  n, k = shape.experts, shape.trees
  return _round(k * (n - 1)), _round(k * n), _round(n)


def vmem_bytes(shape: math.Shape, width: int) -> int:
  """What a program needs at most, forward or backward, for float32 x."""
  splits, leaves, experts = sizes(shape)
  maps = splits + leaves
  forward = 2 * (TILE * width + maps * width + maps * LANES)
  blocks = TILE * (4 * maps + 8 * leaves + 8 * experts + 4 * SUBLANES)
  return 4 * (forward + blocks)


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
  """Runs the gate.

  Args:
    shape: of the gate.
    keep: how many of the largest weights are written with their index.
    x: (T, D).
    maps: (S + P, D) splits and leaves, padded to `sizes`.
    bias: (S + P,).
    matrix: (E, P), which leaf adds to which expert, padded.
    interpret: see `pallas_call`.

  Returns:
    weights (T, n), entropy (T,), index (T, keep), top (T, keep), and the
    values of the maps (S + P, T') for the backward pass.
  """
  tokens, width = x.shape
  tile = _tile(tokens)
  x = jnp.pad(x, ((0, -tokens % tile), (0, 0)))
  size = sizes(shape)[2]
  out = [
    jax.ShapeDtypeStruct((rows, x.shape[0]), dtype)
    for rows, dtype in (
      (size, jnp.float32),
      (1, jnp.float32),
      (keep, jnp.int32),
      (keep, jnp.float32),
      (maps.shape[0], jnp.float32),
    )
  ]
  weights, entropy, index, top, values = pl.pallas_call(
    functools.partial(_forward_kernel, shape=shape, keep=keep),
    grid=(x.shape[0] // tile,),
    in_specs=[
      pl.BlockSpec((tile, width), lambda i: (i, 0)),
      _whole(maps.shape),
      _whole((maps.shape[0], 1)),
      _whole(matrix.shape),
    ],
    out_specs=[_columns(o.shape[0], tile) for o in out],
    out_shape=out,
    compiler_params=pltpu.CompilerParams(dimension_semantics=('parallel',)),
    interpret=interpret,
  )(x, maps, bias[:, None], matrix)

  def cut(block, rows):
    return block[:rows, :tokens].T

  return (
    cut(weights, shape.experts), entropy[0, :tokens], cut(index, keep),
    cut(top, keep), values,
  )  # fmt: skip


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
  tokens = d_weights.shape[0]
  rows, padded = values.shape
  tile = _tile(tokens)
  size = matrix.shape[0]
  pad = (0, padded - tokens)
  d_weights = jnp.pad(d_weights.T, ((0, size - shape.experts), pad))
  d_entropy = jnp.pad(d_entropy[None], ((0, 0), pad))
  d_values, d_matrix = pl.pallas_call(
    functools.partial(_backward_kernel, shape=shape),
    grid=(padded // tile,),
    in_specs=[
      _columns(rows, tile),
      _whole(matrix.shape),
      _columns(size, tile),
      _columns(1, tile),
    ],
    out_specs=[_columns(rows, tile), _whole(matrix.shape)],
    out_shape=[
      jax.ShapeDtypeStruct(values.shape, jnp.float32),
      jax.ShapeDtypeStruct(matrix.shape, jnp.float32),
    ],
    # The programs add to one matrix, one after another.
    compiler_params=pltpu.CompilerParams(dimension_semantics=('arbitrary',)),
    interpret=interpret,
  )(values, matrix, d_weights, d_entropy)
  return d_values[:, :tokens], d_matrix


def _forward_kernel(
  x, maps, bias, matrix, weights, entropy, index, top, values, *, shape, keep
):
  product = _dot(maps[...], x[...].astype(jnp.float32), 1, 1) + bias[...]
  values[...] = product
  splits = sizes(shape)[0]
  combined, entropy[...] = math.combine(
    shape, LAYOUT, product[:splits], product[splits:], matrix[...]
  )
  weights[...] = combined
  for i, (at, value) in enumerate(math.best(LAYOUT, combined, keep)):
    index[i : i + 1, :] = at
    top[i : i + 1, :] = value


def _backward_kernel(
  values, matrix, d_weights, d_entropy, d_values, d_matrix, *, shape
):
  splits = sizes(shape)[0]
  u, a = values[:splits, :], values[splits:, :]
  d_u, d_a, share, d_raw = math.combine_gradient(
    shape, LAYOUT, u, a, matrix[...], d_weights[...], d_entropy[...]
  )
  d_values[:splits, :] = d_u
  d_values[splits:, :] = d_a

  @pl.when(pl.program_id(0) == 0)
  def _():
    d_matrix[...] = jnp.zeros_like(d_matrix)

  d_matrix[...] += _dot(d_raw, share, 1, 1)


def _split(block, count):
  return [block[i : i + 1] for i in range(count)]


def _join(rows, size):
  extra = size - len(rows)
  if extra:
    rows = [*rows, jnp.zeros((extra, rows[0].shape[1]), jnp.float32)]
  return jnp.concatenate(rows, axis=0)


def _dot(a, b, left, right):
  return jax.lax.dot_general(
    a, b, (((left,), (right,)), ((), ())),
    precision=_EXACT, preferred_element_type=jnp.float32,
  )  # fmt: skip


LAYOUT = math.Layout(
  axis=0,
  split=_split,
  join=_join,
  contract=lambda share, matrix: _dot(matrix, share, 1, 0),
  contract_back=lambda d_raw, matrix: _dot(matrix, d_raw, 0, 0),
)


def _columns(rows, tile):
  return pl.BlockSpec((rows, tile), lambda i: (0, i))


def _whole(shape):
  return pl.BlockSpec(shape, lambda _: (0, 0))


def _tile(tokens):
  return min(TILE, -(-tokens // LANES) * LANES)


def _round(rows):
  return -(-rows // SUBLANES) * SUBLANES
