"""PoNet's pooling in plain jnp: the definition, and what runs on a CPU.

The formula is in segment_pooling.py.
"""

import functools

import jax
import jax.numpy as jnp

# Kinds of tokens.
PAD, ORDINARY, SPECIAL = 0, 1, 2


def segment_pooling(
  token: jax.Array,
  gate: jax.Array,
  segment: jax.Array,
  local: jax.Array,
  segment_ids: jax.Array,
  kind: jax.Array,
  contiguous: bool = False,
  ties: str = 'even',
) -> jax.Array:
  """P (B, L, D); arguments as in segment_pooling.py."""
  kind = kind[..., None]
  hidden = jnp.where(kind == PAD, lowest(segment.dtype), segment)
  pooled = segment_max(hidden, segment_ids, ties, contiguous)
  window = local_max(jnp.where(kind == ORDINARY, local, lowest(local.dtype)))
  pooled = jnp.where(kind == ORDINARY, pooled, 0)
  window = jnp.where(kind == ORDINARY, window, 0)
  fused = (token[:, None] + pooled) * gate + window
  return jnp.where(kind == PAD, 0, fused).astype(gate.dtype)


def segment_max(
  x: jax.Array,
  segment_ids: jax.Array,
  ties: str = 'even',
  contiguous: bool = False,
) -> jax.Array:
  """Maximum over each segment, given back to its tokens: (B, L, D)."""
  size = x.shape[1]
  labels = dense_labels(segment_ids, contiguous)
  reduce = jax.vmap(functools.partial(jax.ops.segment_max, num_segments=size))
  spread = jax.vmap(lambda table, index: table[index])
  if ties == 'even':
    return spread(reduce(x, labels), labels)
  top = spread(reduce(jax.lax.stop_gradient(x), labels), labels)
  position = jnp.arange(size)[:, None]
  candidates = jnp.where(x == top, -position, -size)
  first = -spread(reduce(candidates, labels), labels)
  return jnp.take_along_axis(x, first, axis=1)


def local_max(x: jax.Array) -> jax.Array:
  """Maximum of each token and its two neighbours; the first one's at ties."""
  border = jnp.full_like(x[:, :1], lowest(x.dtype))
  left = jnp.concatenate([border, x[:, :-1]], axis=1)
  right = jnp.concatenate([x[:, 1:], border], axis=1)
  best = jnp.where(left >= x, left, x)
  return jnp.where(best >= right, best, right)


def dense_labels(segment_ids: jax.Array, contiguous: bool = False) -> jax.Array:
  """Relabels (B, L) ids by 0, 1, ... without gaps.

  Ids that stand together are numbered by their runs. Where that isn't promised,
  it is seen on the device: ids that grow along every row are numbered in the
  same way, others are sorted.
  """
  if contiguous:
    return _runs(segment_ids)
  return jax.lax.cond(grows(segment_ids), _runs, _ranks, segment_ids)


def grows(ids: jax.Array) -> jax.Array:
  """Whether no id (B, L) is below the one before it, in any row."""
  return jnp.all(ids[:, 1:] >= ids[:, :-1])


def join_padding(segment_ids: jax.Array, kind: jax.Array) -> jax.Array:
  """Gives padding, which no segment sees, the id of the token before it.

  Its own ids, whatever they are, then break no run.
  """
  place = jnp.arange(segment_ids.shape[1])
  token = jax.lax.cummax(jnp.where(kind == PAD, 0, place), axis=1)
  return jnp.take_along_axis(segment_ids, token, axis=1)


def _runs(ids):
  new = (ids[:, 1:] != ids[:, :-1]).astype(jnp.int32)
  return jnp.pad(jnp.cumsum(new, axis=1), ((0, 0), (1, 0)))


def _ranks(ids):
  order = jnp.argsort(ids, axis=1)
  ranks = _runs(jnp.take_along_axis(ids, order, axis=1))
  return jnp.put_along_axis(
    jnp.zeros_like(ranks), order, ranks, axis=1, inplace=False
  )


def lowest(dtype: jnp.dtype) -> jax.Array:
  """The most negative finite number: loses every maximum."""
  return jnp.asarray(jnp.finfo(dtype).min, dtype)
