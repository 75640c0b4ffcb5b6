"""Block-wise dynamic 8-bit quantisation of an optimizer's moments.

Dettmers et al. 2022, arXiv 2110.02861, sections 2.1-2.3: numbers with a moving
decimal point, relative to the largest magnitude of each block of 256. The code
book is that of bitsandbytes 0.50.2, `create_dynamic_map`.

Error of normal moments, root mean square over that of the moments: 1.2 % or
less (signed), of their squares 0.7 % or less (unsigned); see the tests.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

BLOCK = 256


class Quantized(NamedTuple):
  """An array in blocks: codes (blocks, 256) uint8, scales (blocks,) float32."""

  codes: jax.Array
  scales: jax.Array


@functools.cache
def code_book(signed: bool) -> np.ndarray:
  """Returns the 256 rising values in [-1, 1], or [0, 1] if not signed."""
  values = [0.0, 1.0]
  for i in range(7):
    edges = np.linspace(0.1, 1, 2 ** (i if signed else i + 1) + 1)
    means = 10.0 ** (i - 6) * (edges[:-1] + edges[1:]) / 2
    values += [*means, *(-means if signed else ())]
  return np.sort(np.array(values, np.float32))


def quantize(x: jax.Array, signed: bool) -> Quantized:
  """Returns the nearest codes of x, of any shape."""
  flat = x.astype(jnp.float32).reshape(-1)
  blocks = jnp.pad(flat, (0, -flat.size % BLOCK)).reshape(-1, BLOCK)
  scales = jnp.max(jnp.abs(blocks), -1)
  book = code_book(signed)
  middles = jnp.asarray((book[:-1] + book[1:]) / 2)
  relative = blocks / jnp.where(scales > 0, scales, 1.0)[:, None]
  codes = jnp.searchsorted(middles, relative).astype(jnp.uint8)
  return Quantized(codes, scales)


def dequantize(x: Quantized, shape: tuple[int, ...], signed: bool) -> jax.Array:
  """Returns the float32 array of that shape."""
  values = jnp.asarray(code_book(signed))[x.codes] * x.scales[:, None]
  return values.reshape(-1)[: math.prod(shape)].reshape(shape)
