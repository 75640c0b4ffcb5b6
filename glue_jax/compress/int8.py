"""Fixed-point integers of few bits, and two of four bits in a byte."""

import math

import jax
import jax.numpy as jnp


def quantise(x: jax.Array, bits: tuple[int, int], dtype: str) -> jax.Array:
  """Returns clip(round(x 2^f)) as integers, halves rounded to even.

  Args:
    x: any shape.
    bits: (i, f), integer and fraction bits.
    dtype: 'int8' clips to [-2^(i+f), 2^(i+f) - 1], 'uint8' to [0, ...].
  """
  integer, fraction = bits
  limit = 2 ** (integer + fraction)
  low = 0 if dtype == 'uint8' else -limit
  x = jnp.round(x.astype(jnp.float32) * 2**fraction)
  return jnp.clip(x, low, limit - 1).astype(dtype)


def dequantise(
  q: jax.Array, bits: tuple[int, int], dtype: str = 'float32'
) -> jax.Array:
  """Returns q / 2^f in a floating type; the inverse of `quantise`."""
  return (q.astype(jnp.float32) * 2.0 ** -bits[1]).astype(dtype)


def pack4(q: jax.Array) -> jax.Array:
  """Packs integers in [-8, 7], any shape, as (n + 1) // 2 bytes.

  A byte holds (a + 8) * 16 + (b + 8) with a of the first and b of the second
  half of the flat array, padded by one zero if its size is odd.
  """
  flat = jnp.pad(q.reshape(-1), (0, q.size % 2)).astype(jnp.int32) + 8
  first, second = flat.reshape(2, -1)
  return (first * 16 + second).astype(jnp.uint8)


def unpack4(packed: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """Returns the int8 integers of a shape; the inverse of `pack4`."""
  halves = jnp.stack([packed >> 4, packed & 15]).astype(jnp.int8) - 8
  return halves.reshape(-1)[: math.prod(shape)].reshape(shape)
