"""Sums of decays within chunks, exact however strong the decay is.

A sum is a pair of float32, the rounded value and what it lost, so that the
difference of two sums keeps full relative precision. No exponential of a
positive number is formed.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

# A sum of decays as (rounded, what rounding lost), float32.
Pair = jax.Array


class Decays(NamedTuple):
  """Sums of log decays within chunks, from each direction's own start.

  Attributes:
    dt: step sizes (2, B, H, L) float32.
    read: pairs (2, 2, B, H, L), first axis the pair: the decay between the
      chunk's start and what row i reads, the state before its own token.
    read_by: pairs (2, 2, B, H, L), with the token's own decay.
    total: pairs (2, 2, B, H, K), of the whole chunk.
    carried: weight of a token in the state after the chunk (2, B, H, L).
    kept: share of a state that is left after the chunk (2, B, H, K).
  """

  dt: jax.Array
  read: Pair
  read_by: Pair
  total: Pair
  carried: jax.Array
  kept: jax.Array


def sums(dt: jax.Array, a: jax.Array, chunk: int) -> Decays:
  """Sums a * dt within chunks; dt is (2, B, L, H)."""
  dt = dt.astype(jnp.float32).swapaxes(2, 3)
  log = dt * a.astype(jnp.float32)[:, None]
  parts = log.reshape(*log.shape[:-1], -1, chunk)
  with_own = running_sum(jnp.stack([parts[0], parts[1, ..., ::-1]]))
  total = with_own[..., -1]
  read = _moved(with_own, 1)

  def turn(y):
    return jnp.stack([y[:, 0], y[:, 1, ..., ::-1]], axis=1)

  with_own, read = turn(with_own), turn(read)

  def flat(y):
    return y.reshape(*y.shape[:-2], -1)

  carried = dt * flat(exponent(total[..., None], with_own))
  kept = jnp.exp(total[0] + total[1])
  return Decays(dt, flat(read), flat(with_own), total, carried, kept)


def running_sum(y: jax.Array) -> Pair:
  """Inclusive sums over the last axis as pairs (2, ...): Knuth's two-sum."""
  high, low = y, jnp.zeros_like(y)
  step = 1
  while step < y.shape[-1]:
    other = _moved(high, step)
    total = high + other
    part = total - high
    lost = (high - (total - part)) + (other - part)
    lost += low + _moved(low, step)
    high = total + lost
    low = lost - (high - total)
    step *= 2
  return jnp.stack([high, low])


def _moved(y, by):
  """Moves the last axis to the right; zeros come in."""
  pads = [(0, 0)] * (y.ndim - 1) + [(by, 0)]
  return jnp.pad(y[..., : y.shape[-1] - by], pads)


def exponent(longer: Pair, shorter: Pair) -> jax.Array:
  """exp of the difference of two sums, the first of which has more terms."""
  return jnp.exp((longer[0] - shorter[0]) + (longer[1] - shorter[1]))
