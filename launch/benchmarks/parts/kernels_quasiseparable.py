"""Hydra's quasiseparable mixing at the sizes used in practice."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.kernels.quasiseparable import quasiseparable as kernel

LENGTHS = 128, 512, 4096, 16384
WIDTHS = 384, 768, 1024
HEAD_DIM, STATE, EXPAND = 64, 64, 2


def lowerings() -> Iterator[tuple]:
  """(kernel, platform, shape, function, arguments) of every lowering."""
  for platform in ('tpu', 'gpu'):
    run = functools.partial(kernel.quasiseparable, implementation=platform)
    for length in LENGTHS:
      for width in WIDTHS:
        for dtype in ('float32', 'bfloat16'):
          args = _shapes(2, length, width, dtype)
          shape = f'2x{length}x{width} {dtype}'
          yield 'quasiseparable', platform, shape + ' forward', run, args
          yield (
            'quasiseparable',
            platform,
            shape + ' backward',
            _backward(run),
            (*args, args[0]),
          )


def timings() -> Iterator[tuple]:
  """(kernel, shape, ours, reference, arguments, bytes, operations)."""
  served = jax.default_backend() in ('tpu', 'gpu')
  theirs = functools.partial(kernel.quasiseparable, implementation='reference')
  for length in LENGTHS if served else LENGTHS[:2]:
    batch, width = (max(1, 16384 // length), 768) if served else (2, 384)
    dtype = 'bfloat16' if served else 'float32'
    args = _arguments(_shapes(batch, length, width, dtype))
    moved, operations = _cost(batch * length, width, args[0].dtype.itemsize)
    text = f'{batch}x{length}x{width} {dtype}'
    yield (
      'quasiseparable',
      text,
      kernel.quasiseparable,
      theirs,
      args,
      moved,
      operations,
    )
    yield (
      'quasiseparable',
      text + ' forward and backward',
      _backward(kernel.quasiseparable),
      _backward(theirs),
      (*args, args[0]),
      3 * moved,
      3 * operations,
    )


def _backward(run: Any) -> Any:
  return lambda *args: jax.vjp(run, *args[:-1])[1](args[-1])


def _shapes(batch, length, width, dtype):
  inner = EXPAND * width
  heads = inner // HEAD_DIM
  of = jax.ShapeDtypeStruct
  group = of((2, batch, length, 1, STATE), dtype)
  return (
    of((batch, length, heads, HEAD_DIM), dtype),
    of((2, batch, length, heads), 'float32'),
    of((heads,), 'float32'),
    group,
    group,
    of((batch, length, heads), 'float32'),
  )


def _arguments(shapes):
  rng = np.random.default_rng(0)
  drawn = [jnp.asarray(rng.normal(size=s.shape), s.dtype) for s in shapes]
  drawn[1] = 0.1 * jnp.abs(drawn[1])
  drawn[2] = -1 - jnp.abs(drawn[2])
  return tuple(drawn)


def _cost(tokens, width, itemsize):
  """Least bytes (x and y once, states once) and operations, forward."""
  inner, chunk = EXPAND * width, kernel.default_chunk(jax.default_backend())
  states = 2 * 4 * STATE * inner // chunk
  operations = 2 * chunk * inner + 2 * chunk * STATE + 8 * inner * STATE
  return tokens * (2 * inner * itemsize + states), tokens * operations
