"""Dropout (Srivastava et al. 2014) with masks from a counter-based hash.

A mask element is a hash of the key and of the element's position in the whole
array: no state and no stored mask, a dozen integer operations that compilers
fuse into whatever reads the result, in the backward pass too. The generators
behind `jax.random` cost more than the matrix products beside them on a CPU.
Position means global position, so sharding an array doesn't change its mask.

The mixer is a two-round one of the hash-prospector project (xor-shift and
multiply); a word of the key enters before each round.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

_WEYL = np.uint32(0x9E3779B1)  # odd: spreads neighbours over all bits
_ROUNDS = ((16, np.uint32(0x21F0AAAD)), (15, np.uint32(0xD35A2D97)))


def random_bits(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """Returns hashed counters, uint32 of a shape.

  Args:
    key: typed key, or its raw uint32 data; the first and last word are used.
    shape: of the result. Beyond 2^32 elements the counter wraps.
  """
  if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
    key = jax.random.key_data(key)
  low, high = key.reshape(-1)[0], key.reshape(-1)[-1]
  # Keys that differ in one bit must differ in all by the time they are used.
  low = _round(_round(low ^ _WEYL, 0) ^ high, 1)
  high = _round(_round(high ^ low, 1), 0)
  x, stride = jnp.zeros(shape, jnp.uint32), 1
  for axis in reversed(range(len(shape))):
    position = jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
    x += position * np.uint32(stride % 2**32)
    stride *= shape[axis]
  # The second word enters between the rounds: entering where the first does,
  # it would only shift one and the same sequence.
  x = _round(_round(x * _WEYL + low, 0) ^ high, 1)
  return x ^ (x >> 15)


def _round(x: jax.Array, which: int) -> jax.Array:
  shift, multiplier = _ROUNDS[which]
  return (x ^ (x >> shift)) * multiplier


def keep_mask(key: jax.Array, rate: float, shape: tuple[int, ...]) -> jax.Array:
  """Returns bools of a shape, each False with probability `rate`.

  The rate is met to 2^-32.
  """
  threshold = np.uint32(min(round(rate * 2**32), 2**32 - 1))
  return random_bits(key, shape) >= threshold


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def dropout(x: jax.Array, key: jax.Array, rate: float) -> jax.Array:
  """Zeroes elements of (...) with probability `rate` and scales up the rest.

  The backward pass keeps the key only and makes the mask again.
  """
  keep = keep_mask(key, rate, x.shape)
  return jnp.where(keep, x * np.asarray(1 / (1 - rate), x.dtype), 0)


def _forward(x, key, rate):
  return dropout(x, key, rate), key


def _backward(rate, key, g):
  return dropout(g, key, rate), None


dropout.defvjp(_forward, _backward)


class Dropout(nn.Module):
  """Zeroes elements with probability `rate` and scales up the rest.

  Attributes:
    rate: in [0, 1).
  """

  rate: float

  @nn.compact
  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    """Maps (...) to (...); the identity unless training. Uses rng 'dropout'.

    Raises:
      ValueError: the rate is out of range.
    """
    if not 0.0 <= self.rate < 1.0:
      raise ValueError(f'dropout rate {self.rate} is not in [0, 1)')
    if not train or self.rate == 0.0:
      return x
    return dropout(x, self.make_rng('dropout'), self.rate)
