"""PoNet's pooling at the sizes used in practice."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.kernels.segment_pooling import segment_pooling as kernel

LENGTHS = 128, 512, 4096, 16384
WIDTHS = 384, 768, 1024
# Tokens a segment, about a sentence.
SEGMENT = 24


def lowerings() -> Iterator[tuple]:
  """(kernel, platform, shape, function, arguments) of every lowering."""
  for platform in ('tpu', 'gpu'):
    pooling = functools.partial(
      kernel.segment_pooling, implementation=platform, contiguous=True
    )
    for length in LENGTHS:
      for width in WIDTHS:
        for dtype in ('float32', 'bfloat16'):
          rows = jax.ShapeDtypeStruct((2, length, width), dtype)
          whole = jax.ShapeDtypeStruct((2, length), 'int32')
          token = jax.ShapeDtypeStruct((2, width), dtype)
          args = token, rows, rows, rows, whole, whole
          shape = f'2x{length}x{width} {dtype}'
          yield 'segment_pooling', platform, shape + ' forward', pooling, args
          yield (
            'segment_pooling',
            platform,
            shape + ' backward',
            _backward(pooling),
            (*args, rows),
          )


def timings() -> Iterator[tuple]:
  """(kernel, shape, ours, reference, arguments, bytes, operations)."""
  served = jax.default_backend() in ('tpu', 'gpu')
  lengths = LENGTHS if served else LENGTHS[:2]
  for length in lengths:
    batch, width = max(1, 16384 // length) if served else 8, 768
    shape = batch, length, width
    args = _arguments(shape)
    size = int(np.prod(shape)) * 4
    ours = functools.partial(kernel.segment_pooling, contiguous=True)
    theirs = functools.partial(ours, implementation='reference')
    text = 'x'.join(map(str, shape)) + ' float32'
    yield 'segment_pooling', text, ours, theirs, args[:-1], 4 * size, 0
    yield (
      'segment_pooling',
      text + ' forward and backward',
      _backward(ours),
      _backward(theirs),
      args,
      11 * size,
      0,
    )


def _backward(pooling: Any) -> Any:
  def run(token, gate, segment, local, ids, kind, cotangent):
    def fn(*arrays):
      return pooling(*arrays, ids, kind)

    return jax.vjp(fn, token, gate, segment, local)[1](cotangent)

  return run


def _arguments(shape: tuple[int, int, int]) -> tuple:
  batch, length, width = shape
  rng = np.random.default_rng(0)

  def draw(*size):
    return jnp.asarray(rng.normal(size=size), jnp.float32)

  ids = np.broadcast_to(np.arange(length) // SEGMENT, (batch, length))
  rows = draw(*shape), draw(*shape), draw(*shape)
  kind = jnp.ones((batch, length), jnp.int32)
  return draw(batch, width), *rows, jnp.asarray(ids), kind, draw(*shape)
