"""Quasiseparable mixing in plain jnp, a chunk at a time: the reference form.

Letters: B batch, L length (whole chunks), H heads, P head width, G groups,
N state width, Q chunk, K = L / Q. See quasiseparable.py for the matrix.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from glue_jax.kernels.quasiseparable import reference
from glue_jax.kernels.quasiseparable.decays import Decays


class Gradients(NamedTuple):
  """What the backward step over chunks gives.

  Attributes:
    x: (B, L, H, P).
    b, c: (2, B, L, G, N).
    delta: (B, H, L).
    log: of the log decays, from pairs of tokens in a chunk (2, B, H, L).
    read: of the log of the decay before row i reads a state (2, B, H, L).
    within: of dt, from its own chunk (2, B, H, L).
    carried: of `Decays.carried` (2, B, H, L).
    kept: of `Decays.kept` (2, B, H, K).
  """

  x: jax.Array
  b: jax.Array
  c: jax.Array
  delta: jax.Array
  log: jax.Array
  read: jax.Array
  within: jax.Array
  carried: jax.Array
  kept: jax.Array


def states(
  weight: jax.Array,
  x: jax.Array,
  b: jax.Array,
  kept: jax.Array,
  start: jax.Array,
  *,
  backward: bool,
  chunk: int,
  interpret: bool = False,
) -> tuple[jax.Array, jax.Array]:
  """The recurrence h <- kept h + sum_j weight_j x_j b_j^T over chunks.

  Args:
    weight: (2, B, H, L).
    x: (B, L, H, P).
    b: (2, B, L, G, N).
    kept: (2, B, H, K).
    start: (2, B, H, P, N) float32.
    backward: the directions run against their own order, as gradients do.
    chunk: Q.
    interpret: for the kernels, which have the same signature.

  Returns:
    h before each chunk (K, 2, B, H, P, N) and after the last (2, B, H, P, N),
    float32; "before" in the order of the run.
  """
  del interpret
  groups = b.shape[3]

  def parts(y):
    return _split(y, y.ndim - 1, chunk)

  xs = _grouped(_split(x, 1, chunk), groups, 3)
  weight = _grouped(parts(weight), groups, 2).astype(x.dtype)
  # (2, B, G, R, K, Q) times (B, K, Q, G, R, P).
  weighted = xs[None] * jnp.moveaxis(weight, (4, 5), (2, 3))[..., None]
  added = reference.dot(
    'dzkqgrp,dzkqgn->kdzgrpn', weighted, _split(b, 2, chunk)
  )
  added = added.reshape(added.shape[0], *start.shape)
  kept = jnp.moveaxis(kept, -1, 0)[..., None, None]

  def flip(y):
    return _flip_one(y, 0 if backward else 1)

  def step(h, chunk):
    share, new = chunk
    return share * h + new, h

  final, before = jax.lax.scan(step, start, (flip(kept), flip(added)))
  return flip(before), final


def outputs(
  x: jax.Array,
  decays: Decays,
  b: jax.Array,
  c: jax.Array,
  delta: jax.Array,
  states: jax.Array,
  *,
  chunk: int,
  interpret: bool = False,
) -> jax.Array:
  """y (B, L, H, P); c is shifted, delta (B, L, H)."""
  del interpret

  def one(part):
    x, decays, b, c, delta, h = part
    m, _ = reference.chunk_matrix(decays, b, c, delta)
    y = reference.dot('zhij,zjhp->zihp', m.astype(x.dtype), x)
    read = jnp.exp(decays.read[0] + decays.read[1])
    y += _from_states(c, h, read, x.dtype)
    return y.astype(x.dtype)

  parts = _parts(x, decays, b, c, delta, states, chunk)
  return _joined(jax.lax.map(one, parts), 1)


def gradients(
  cotangent: jax.Array,
  x: jax.Array,
  decays: Decays,
  b: jax.Array,
  c: jax.Array,
  delta: jax.Array,
  states: jax.Array,
  later: jax.Array,
  *,
  chunk: int,
  interpret: bool = False,
) -> Gradients:
  """Gradients of all that `outputs` and `states` read.

  Args:
    cotangent: of y (B, L, H, P).
    x, decays, b, c, delta, states: of the forward pass.
    later: gradients of the states after each chunk (K, 2, B, H, P, N).
    chunk: Q.
    interpret: for the kernels, which have the same signature.
  """
  del interpret
  parts = _parts(x, decays, b, c, delta, states, chunk)
  parts = (_lead(cotangent, 1, chunk), later, *parts)
  by_chunk = jax.lax.map(_chunk_gradients, parts)
  return Gradients(
    x=_joined(by_chunk.x, 1),
    b=_joined(by_chunk.b, 2),
    c=_joined(by_chunk.c, 2),
    delta=_joined(by_chunk.delta, 2),
    log=_joined(by_chunk.log, 3),
    read=_joined(by_chunk.read, 3),
    within=_joined(by_chunk.within, 3),
    carried=_joined(by_chunk.carried, 3),
    kept=jnp.moveaxis(by_chunk.kept, 0, -1),
  )


def _chunk_gradients(part):
  """`gradients` of one chunk; `kept` is (2, B, H)."""
  cotangent, later, x, decays, b, c, delta, h = part
  kind, groups = x.dtype, b.shape[3]
  m, weight = reference.chunk_matrix(decays, b, c, delta)
  products = reference.dot('zihp,zjhp->zhij', cotangent, x)
  d_delta = jnp.diagonal(products, axis1=2, axis2=3)
  d_x = reference.dot('zhij,zihp->zjhp', m.astype(kind), cotangent)
  inside = _grouped(products * weight, groups, 1)
  d_scores = (inside * _grouped(reference.steps(decays), groups, 1)).sum(2)
  per_dt = inside * reference.scores(b, c)[:, :, None]
  per_dt = per_dt.reshape(products.shape)
  below = reference.lower(x.shape[1])

  def halves(y):
    return jnp.stack([jnp.where(below, y, 0), jnp.where(below, 0, y)])

  d_scores = halves(d_scores).astype(kind)
  # Through the states: read by rows, added to by columns.
  read = jnp.exp(decays.read[0] + decays.read[1])
  reads = reference.dot('dzhpn,zihp->dzihn', h.astype(kind), cotangent)
  d_c = _to_groups(reads, read, groups)
  d_c += reference.dot('dzgij,dzjgn->dzign', d_scores, b)

  def repeated(y):
    return jnp.repeat(y, x.shape[2] // groups, axis=3)

  d_read = read * jnp.moveaxis((reads * repeated(c)).sum(-1), 2, 3)
  adds = reference.dot('dzhpn,zjhp->dzjhn', later.astype(kind), x)
  d_b = _to_groups(adds, decays.carried, groups)
  d_b += reference.dot('dzgij,dzign->dzjgn', d_scores, c)
  carried = jnp.moveaxis((adds * repeated(b)).sum(-1), 2, 3)
  d_x += _from_states(b, later, decays.carried, kind)
  return Gradients(
    x=d_x.astype(kind),
    b=d_b,
    c=d_c,
    delta=d_delta,
    log=crossing(per_dt * reference.steps(decays)),
    read=d_read,
    within=halves(per_dt).sum(-2),
    carried=carried,
    kept=(h * later).sum((-2, -1)),
  )


def crossing(logs: jax.Array) -> jax.Array:
  """Sums over the pairs (i, j) that token t lies strictly between.

  Those are the pairs whose decay has t's in it. Differences of row and column
  sums would give the same with large terms that cancel.

  Args:
    logs: (B, H, Q, Q).

  Returns:
    (2, B, H, Q), i > t > j and i < t < j.
  """
  below = reference.lower(logs.shape[-1])
  above = below.T
  ends = [
    jnp.where(
      begins, reference.dot('ti,zhij->zhtj', ends.astype(logs.dtype), logs), 0
    ).sum(-1)
    for begins, ends in ((below, above), (above, below))
  ]
  return jnp.stack(ends)


def _from_states(c, h, weight, kind):
  """sum over directions of weight_i (h c_i): (B, Q, H, P) float32."""
  groups = c.shape[3]
  y = reference.dot(
    'dzign,dzgrpn->dzigrp', c, _grouped(h, groups, 2).astype(kind)
  )
  y = y.reshape(*y.shape[:3], -1, y.shape[-1])
  return (y * jnp.moveaxis(weight, 2, 3)[..., None]).sum(0)


def _to_groups(y, weight, groups):
  """Weights (2, B, Q, H, N) by (2, B, H, Q) and sums each group's heads."""
  y = y * jnp.moveaxis(weight, 2, 3)[..., None]
  return _grouped(y, groups, 3).sum(4)


def _parts(x, decays, b, c, delta, states, chunk):
  """Arguments of a chunk, stacked on a new first axis."""
  decays = Decays(
    dt=_lead(decays.dt, 3, chunk),
    read=_lead(decays.read, 4, chunk),
    read_by=_lead(decays.read_by, 4, chunk),
    total=jnp.moveaxis(decays.total, -1, 0),
    carried=_lead(decays.carried, 3, chunk),
    kept=jnp.moveaxis(decays.kept, -1, 0),
  )
  b, c = _lead(b, 2, chunk), _lead(c, 2, chunk)
  return _lead(x, 1, chunk), decays, b, c, _lead(delta, 1, chunk), states


def _split(y, axis, chunk):
  return y.reshape(*y.shape[:axis], -1, chunk, *y.shape[axis + 1 :])


def _lead(y, axis, chunk):
  """Cuts an axis into chunks and moves them to the front."""
  return jnp.moveaxis(_split(y, axis, chunk), axis, 0)


def _joined(y, axis):
  """Puts chunks at the front back into an axis."""
  y = jnp.moveaxis(y, 0, axis)
  return y.reshape(*y.shape[:axis], -1, *y.shape[axis + 2 :])


def _grouped(y, groups, axis):
  """Cuts the axis of heads into (G, H / G)."""
  return y.reshape(*y.shape[:axis], groups, -1, *y.shape[axis + 1 :])


def _flip_one(y, direction):
  """Reverses the chunks (first axis) of one direction (second axis)."""
  parts = [y[:, 0], y[:, 1]]
  parts[direction] = parts[direction][::-1]
  return jnp.stack(parts, axis=1)
