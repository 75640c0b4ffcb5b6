"""How the quasiseparable kernels for TPU lay arrays out, and their blocks.

The channels of a program are whole heads of one group (two of P = 64), 128
lanes or more. Scalars of a token lie in rows (a head on a sublane) where a
matrix varies by column, and in columns (a head on a lane, picked by a masked
sum) where it varies by row.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

LANES = 128
# Contracts the last axes of both operands.
NT = (((1,), (1,)), ((), ()))


class Plan:
  """Arrays and blocks that the two kernels over single chunks share."""

  def __init__(self, x, decays, b, c, delta, chunk):
    batch, length, self.heads, self.head_dim = x.shape
    self.groups, self.width = b.shape[3:]
    self.each, self.lanes = block_of(self.heads // self.groups, self.head_dim)
    self.size = self.lanes // self.each
    self.x, self.chunk = wide(x, self.size), chunk
    blocks = self.x.shape[2] // self.lanes
    self.grid = (batch, length // chunk, blocks)
    self.per_group = blocks // self.groups
    rows = jnp.concatenate([decays.dt, *decays.read_by])
    columns = jnp.concatenate(
      [
        *decays.read,
        delta.astype(jnp.float32).swapaxes(1, 2)[None],
        decays.carried,
      ]
    )  # (7, B, H, L)
    columns = columns.transpose(1, 3, 0, 2).reshape(batch, length, -1)
    self.arrays = rows, columns, b.swapaxes(2, 3), c.swapaxes(2, 3)
    per_group = self.per_group
    self.tokens = pl.BlockSpec(
      (1, chunk, self.lanes), lambda z, k, j: (z, k, j)
    )
    self.group = pl.BlockSpec(
      (2, 1, 1, chunk, self.width),
      lambda z, k, j: (0, z, div(j, per_group), k, 0),
    )
    self.specs = [
      pl.BlockSpec((6, 1, self.heads, chunk), lambda z, k, _: (0, z, 0, k)),
      pl.BlockSpec((1, chunk, columns.shape[2]), lambda z, k, _: (z, k, 0)),
      self.group,
      self.group,
    ]
    self.state = pl.BlockSpec(
      (2, 1, 1, 1, self.width, self.lanes), lambda z, k, j: (0, z, k, j, 0, 0)
    )

  def narrow(self, y):
    """Back to (B, L, H, P)."""
    y = y.reshape(*y.shape[:2], self.heads, self.size)
    return y[..., : self.head_dim]


class Scalars:
  """A chunk's scalars of one head inside a kernel.

  `row(i)` is (1, Q): dt, then the high and low parts of the sums with the own
  decay, each of both directions; `column(i)` is (Q, 1): high and low parts of
  the sums before, delta, carried.
  """

  def __init__(self, rows, columns, head, heads):
    self.row = lambda i: rows[i, 0, pl.ds(head, 1), :]
    table = columns[0]
    lane = jax.lax.broadcasted_iota(jnp.int32, table.shape, 1)
    self.column = lambda i: jnp.sum(
      jnp.where(lane == i * heads + head, table, 0.0), axis=1, keepdims=True
    )
    self.delta = self.column(4)
    pairs = [(self.column(d), self.column(d + 2)) for d in (0, 1)]
    self.read = [jnp.exp(high + low) for high, low in pairs]
    size = table.shape[0]
    i, j = (iota((size, size), axis) for axis in (0, 1))
    self.lower, self.upper = i > j, i < j
    logs = [
      (high - self.row(2 + d)) + (low - self.row(4 + d))
      for d, (high, low) in enumerate(pairs)
    ]
    log = jnp.where(self.lower, logs[0], jnp.where(self.upper, logs[1], 0.0))
    self.decay = jnp.where(i == j, 0.0, jnp.exp(log))
    self.steps = jnp.where(self.lower, self.row(0), self.row(1))
    self.diagonal = i == j

  def matrix(self, scores):
    """M (Q, Q)."""
    m = scores * self.decay * self.steps
    return jnp.where(self.diagonal, self.delta, m)


def dot(
  one: jax.Array, two: jax.Array, dimensions: Any = (((1,), (0,)), ((), ()))
) -> jax.Array:
  """A product with float32 sums, in full precision for float32 inputs."""
  full = one.dtype == jnp.float32
  return jax.lax.dot_general(
    one,
    two,
    dimensions,
    precision=jax.lax.Precision.HIGHEST if full else None,
    preferred_element_type=jnp.float32,
  )


def owner_of(shape: tuple[int, int], each: int) -> jax.Array:
  """Which of the block's heads a lane belongs to."""
  return div(iota(shape, 1), shape[1] // each)


def iota(shape: tuple[int, ...], axis: int) -> jax.Array:
  """Positions along an axis, int32."""
  return jax.lax.broadcasted_iota(jnp.int32, shape, axis)


def div(a: jax.Array, b: int) -> jax.Array:
  """a // b of numbers that are not negative."""
  # `//` and `%` look at signs, which takes operations that chips differ in.
  return jax.lax.div(a, jnp.int32(b))


def rem(a: jax.Array, b: int) -> jax.Array:
  """a % b of numbers that are not negative."""
  return jax.lax.rem(a, jnp.int32(b))


def block_of(per_group: int, size: int) -> tuple[int, int]:
  """Heads of a block, all of one group, and its lanes, a multiple of 128."""
  if size > LANES:
    return 1, -(-size // LANES) * LANES
  each = math.gcd(per_group, LANES)
  while LANES // each < size:
    each //= 2
  return each, LANES


def wide(x: jax.Array, size: int) -> jax.Array:
  """(..., H, P) to (..., H * size), each head filled with zeros."""
  x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, size - x.shape[-1])])
  return x.reshape(*x.shape[:-2], -1)


def to_lanes(y: jax.Array, blocks: int, lanes: int) -> jax.Array:
  """(..., H) to (..., blocks, 1, lanes), each head's value on its lanes."""
  y = jnp.repeat(y, blocks * lanes // y.shape[-1], axis=-1)
  return y.reshape(*y.shape[:-1], blocks, 1, lanes)


def floats(*shape: int) -> jax.ShapeDtypeStruct:
  """A float32 result of a kernel."""
  return jax.ShapeDtypeStruct(shape, jnp.float32)
