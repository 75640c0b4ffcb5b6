"""Terms of relative position of disentangled attention, at sizes of use.

The reference of the times is the published way: products with all rows of the
table, from which each pair gathers its own.
"""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.kernels.disentangled import disentangled as kernel
from glue_jax.layers.mixers.disentangled import bucket

LENGTHS = 128, 512, 4096, 16384
WIDTHS = 384, 768, 1024
HEAD_DIM, BUCKETS, SPAN = 64, 256, 512


def lowerings() -> Iterator[tuple]:
  """(kernel, platform, shape, function, arguments) of every lowering."""
  for platform in ('tpu', 'gpu'):
    for length in LENGTHS:
      run = functools.partial(
        kernel.position_scores, rows=_rows(length), implementation=platform
      )
      for width in WIDTHS:
        for dtype in ('float32', 'bfloat16'):
          args = _shapes(2, length, width, dtype)
          shape = f'2x{length}x{width} {dtype}'
          yield 'disentangled', platform, shape + ' forward', run, args
          heads = width // HEAD_DIM
          scores = jax.ShapeDtypeStruct((2, heads, length, length), 'float32')
          yield (
            'disentangled',
            platform,
            shape + ' backward',
            _backward(run),
            (*args, scores),
          )


def timings() -> Iterator[tuple]:
  """(kernel, shape, ours, reference, arguments, bytes, operations)."""
  served = jax.default_backend() in ('tpu', 'gpu')
  for length in LENGTHS[:3] if served else LENGTHS[:2]:
    batch, width = (max(1, 8192 // length), 768) if served else (2, 384)
    dtype = 'bfloat16' if served else 'float32'
    rng = np.random.default_rng(0)
    args = tuple(
      jnp.asarray(rng.normal(size=s.shape), s.dtype)
      for s in _shapes(batch, length, width, dtype)
    )
    rows = _rows(length)
    ours = functools.partial(kernel.position_scores, rows=rows)
    theirs = functools.partial(_gathered, rows=rows)
    scores = jnp.ones((batch, width // HEAD_DIM, length, length), jnp.float32)
    # Both terms: pairs with as many distances, and 4 bytes a pair written.
    operations, moved = 4 * scores.size * HEAD_DIM, 4 * scores.size
    text = f'{batch}x{length}x{width} {dtype}'
    yield 'disentangled', text, ours, theirs, args, moved, operations
    yield (
      'disentangled',
      text + ' forward and backward',
      _backward(ours),
      _backward(theirs),
      (*args, scores),
      2 * moved,
      3 * operations,
    )


def _gathered(query, key, position_keys, position_queries, rows):
  """The terms from (B, H, L, R) and (B, H, R, M) by gathers."""
  length, other = query.shape[1], key.shape[1]
  index = rows[np.arange(other) - np.arange(length)[:, None] + length - 1]

  def term(text, x, table, axis):
    products = jnp.einsum(text, x, table, preferred_element_type=jnp.float32)
    pairs = jnp.broadcast_to(index, products.shape[:2] + index.shape)
    return jnp.take_along_axis(products, pairs, axis=axis)

  return term('blhk,rhk->bhlr', query, position_keys, -1) + term(
    'bmhk,rhk->bhrm', key, position_queries, -2
  )


def _backward(run: Any) -> Any:
  return lambda *args: jax.vjp(run, *args[:-1])[1](args[-1])


def _rows(length):
  distance = np.arange(length - 1, -length, -1)
  rows = bucket(distance, BUCKETS, SPAN) + BUCKETS
  return np.clip(rows, 0, 2 * BUCKETS - 1)


def _shapes(batch, length, width, dtype):
  heads = width // HEAD_DIM
  x = jax.ShapeDtypeStruct((batch, length, heads, HEAD_DIM), dtype)
  table = jax.ShapeDtypeStruct((2 * BUCKETS, heads, HEAD_DIM), dtype)
  return x, x, table, table
