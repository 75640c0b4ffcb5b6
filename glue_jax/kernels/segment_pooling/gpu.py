"""PoNet's pooling for GPU (Triton): one program for a segment and 64 channels.

A program goes over its segment's tokens in tiles of `TILE` rows: once for the
maximum, once to fuse and write, the second time mostly from the L2 cache. The
tokens are listed in the order of their labels, so that arbitrary labels are as
good as contiguous ones, but for a sort. Programs of labels that a row doesn't
have end at once.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plt

from glue_jax.kernels.segment_pooling import reference

CHANNELS, TILE = 64, 16
_PAD, _ORDINARY = 0, 1


def forward(
  token: jax.Array,
  gate: jax.Array,
  segment: jax.Array,
  local: jax.Array,
  labels: jax.Array,
  kind: jax.Array,
  *,
  contiguous: bool,
  interpret: bool,
) -> jax.Array:
  """P (B, L, D); arguments as in `segment_pooling`, with dense labels."""
  order, start = _listed(labels, contiguous)
  kernel = functools.partial(_forward_kernel, shape=gate.shape[1:])
  return pl.pallas_call(
    kernel,
    grid=_grid(gate.shape),
    out_shape=jax.ShapeDtypeStruct(gate.shape, gate.dtype),
    compiler_params=plt.CompilerParams(num_warps=4),
    interpret=interpret,
  )(start, order, kind.astype(jnp.int32), token, gate, segment, local)


def backward(
  cotangent: jax.Array,
  token: jax.Array,
  gate: jax.Array,
  segment: jax.Array,
  labels: jax.Array,
  kind: jax.Array,
  *,
  contiguous: bool,
  interpret: bool,
) -> tuple[jax.Array, jax.Array]:
  """Gradients of gate and segment (B, L, D); zero cotangent at padding."""
  order, start = _listed(labels, contiguous)
  kernel = functools.partial(_backward_kernel, shape=gate.shape[1:])
  d_gate, d_segment = pl.pallas_call(
    kernel,
    grid=_grid(gate.shape),
    out_shape=[
      jax.ShapeDtypeStruct(gate.shape, gate.dtype),
      jax.ShapeDtypeStruct(segment.shape, segment.dtype),
    ],
    compiler_params=plt.CompilerParams(num_warps=4),
    interpret=interpret,
  )(start, order, kind.astype(jnp.int32), cotangent, token, gate, segment)
  return d_gate, d_segment


def _forward_kernel(
  start, order, kind, token, gate, segment, local, out, *, shape
):
  walk, columns, inside = _walk(start, order, kind, shape)
  length, low = shape[0], jnp.finfo(jnp.float32).min
  b = pl.program_id(0)
  pooled = _pooled(walk, segment, columns, inside, low)
  v = _load(token.at[b, columns], inside)

  def neighbour(rows, live):
    # Hidden where there is none, and where it is special or padding.
    live &= (rows >= 0) & (rows < length)
    rows = jnp.clip(rows, 0, length - 1)
    kinds = _load(kind.at[b, rows], live, other=_PAD)
    seen = (live & (kinds == _ORDINARY))[:, None] & inside[None]
    return _load(local.at[b, rows[:, None], columns[None]], seen, other=low)

  def fuse(rows, live, kinds, _):
    window = neighbour(rows, live)
    for step in (-1, 1):
      window = jnp.maximum(window, neighbour(rows + step, live))
    ordinary = (kinds == _ORDINARY)[:, None]
    both = live[:, None] & inside[None]
    at = (b, rows[:, None], columns[None])
    o = _load(gate.at[at], both)
    p = (v[None] + jnp.where(ordinary, pooled[None], 0.0)) * o
    p += jnp.where(ordinary, window, 0.0)
    p = jnp.where((kinds == _PAD)[:, None], 0.0, p)
    plt.store(out.at[at], p.astype(out.dtype), mask=both)

  walk(fuse, None)


def _backward_kernel(
  start, order, kind, cotangent, token, gate, segment, d_gate, d_segment,
  *, shape,
):  # fmt: skip
  walk, columns, inside = _walk(start, order, kind, shape)
  low = jnp.finfo(jnp.float32).min
  b = pl.program_id(0)
  pooled = _pooled(walk, segment, columns, inside, low)
  v = _load(token.at[b, columns], inside)

  def is_max(rows, live, kinds):
    both = (live & (kinds != _PAD))[:, None] & inside[None]
    x = _load(segment.at[b, rows[:, None], columns[None]], both, other=low)
    return jnp.where(both & (x == pooled[None]), 1.0, 0.0)

  def gather(rows, live, kinds, sums):
    both = live[:, None] & inside[None]
    at = (b, rows[:, None], columns[None])
    g, o = _load(cotangent.at[at], both), _load(gate.at[at], both)
    ordinary = (kinds == _ORDINARY)[:, None]
    s = jnp.where(ordinary, pooled[None], 0.0)
    value = g * (v[None] + s)
    plt.store(d_gate.at[at], value.astype(d_gate.dtype), mask=both)
    total = sums[0] + jnp.where(ordinary, g * o, 0.0).sum(0)
    return total, sums[1] + is_max(rows, live, kinds).sum(0)

  none = jnp.zeros(CHANNELS, jnp.float32)
  total, tied = walk(gather, (none, none))
  share = total / jnp.maximum(tied, 1.0)

  def write(rows, live, kinds, _):
    both = live[:, None] & inside[None]
    value = is_max(rows, live, kinds) * share[None]
    at = (b, rows[:, None], columns[None])
    plt.store(d_segment.at[at], value.astype(d_segment.dtype), mask=both)

  walk(write, None)


def _pooled(walk, segment, columns, inside, low):
  """The segment's maximum (CHANNELS,) float32."""
  b = pl.program_id(0)

  def top(rows, live, kinds, value):
    seen = (live & (kinds != _PAD))[:, None] & inside[None]
    x = _load(segment.at[b, rows[:, None], columns[None]], seen, other=low)
    return jnp.maximum(value, x.max(0))

  return walk(top, jnp.full(CHANNELS, low, jnp.float32))


def _walk(start, order, kind, shape):
  """Returns walk(body, carry), the columns and which of them exist.

  body(rows, live, kinds, carry): positions (TILE,) of tokens of the segment,
  which of them are real, and their kinds.
  """
  b, label, part = (pl.program_id(i) for i in range(3))
  columns = part * CHANNELS + jnp.arange(CHANNELS)
  begin, end = start[b, label], start[b, label + 1]

  def walk(body, carry):
    def tile(i, carry):
      at = begin + i * TILE + jnp.arange(TILE)
      live = at < end
      # Beyond the end where there is none: nothing is read or written there.
      rows = _load(order.at[b, at], live, other=shape[0])
      kinds = _load(kind.at[b, rows], live, other=_PAD)
      return body(rows, live, kinds, carry)

    return jax.lax.fori_loop(0, pl.cdiv(end - begin, TILE), tile, carry)

  return walk, columns, columns < shape[1]


def _load(ref, mask, other=0):
  """A masked load; numbers come as float32."""
  x = plt.load(ref, mask=mask, other=other)
  return x if jnp.issubdtype(x.dtype, jnp.integer) else x.astype(jnp.float32)


def _listed(labels, contiguous):
  """Positions in the order of their labels, and where each label begins."""
  batch, size = labels.shape
  labels = labels.astype(jnp.int32)
  edges = jnp.arange(size + 1, dtype=jnp.int32)
  find = jax.vmap(lambda row: jnp.searchsorted(row, edges).astype(jnp.int32))

  def as_they_are(labels):
    places = jnp.arange(size, dtype=jnp.int32)
    return jnp.broadcast_to(places, (batch, size)), find(labels)

  def by_label(labels):
    order = jnp.argsort(labels, axis=1, stable=True).astype(jnp.int32)
    return order, find(jnp.take_along_axis(labels, order, axis=1))

  if contiguous:
    return as_they_are(labels)
  grown = reference.grows(labels)
  return jax.lax.cond(grown, as_they_are, by_label, labels)


def _grid(shape):
  return shape[0], shape[1], pl.cdiv(shape[2], CHANNELS)
