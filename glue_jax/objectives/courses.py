"""Ways to spoil a text for a discriminator, and to go over its mistakes.

The parts of multi-perspective course learning (Chen et al. 2023, Findings of
ACL, arXiv 2305.03981) beside ELECTRA's replaced tokens (objectives/rtd.py):
swapped and inserted tokens, and the correction notebooks. No code of theirs is
published and only the abstract could be read, which has the names: what a swap
or an insertion is, and the numbers of the four classes, are definitions of this
project. All are pure functions of arrays, random numbers included.
"""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp

Batch = Mapping[str, jax.Array]


def drawn(luck: jax.Array, allowed: jax.Array, count: jax.Array) -> jax.Array:
  """Draws places without replacement.

  Args:
    luck: (B, L), the least come first.
    allowed: (B, L) bool.
    count: (B, 1), how many of a row.

  Returns:
    (B, L) bool, `count` of each row or all that are allowed.
  """
  luck = jnp.where(allowed, luck, jnp.inf)
  rank = jnp.argsort(jnp.argsort(luck, axis=-1), axis=-1)
  return allowed & (rank < count)


def to_swap(luck: jax.Array, batch: Batch, rate: float) -> jax.Array:
  """Draws tokens to be swapped: round(rate n) of n real ones, two at least.

  Args:
    luck: uniform in [0, 1), (B, L).
    batch: attention_mask (B, L); word_ids (B, L), -1 where none may be.
    rate: their share.

  Returns:
    (B, L) bool; none of a row with a single candidate.
  """
  allowed = batch['word_ids'] >= 0
  real = batch['attention_mask'].sum(-1, keepdims=True)
  count = jnp.maximum(2, jnp.round(rate * real))
  chosen = drawn(luck, allowed, count)
  return chosen & (allowed.sum(-1, keepdims=True) > 1)


def swap(ids: jax.Array, chosen: jax.Array) -> jax.Array:
  """Moves every chosen token to the next chosen place, the last to the first.

  Args:
    ids: (B, L).
    chosen: (B, L) bool.
  """
  place = jnp.arange(ids.shape[-1])
  latest = jax.lax.cummax(jnp.where(chosen, place, -1), axis=1)
  before = jnp.pad(latest[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
  source = jnp.where(before < 0, latest[:, -1:], before)
  return jnp.take_along_axis(ids, jnp.where(chosen, source, place), axis=-1)


def inserted_length(length: int, rate: float) -> int:
  """Returns the length of rows with insertions: L + ceil(rate L)."""
  return length + math.ceil(rate * length)


def gaps(luck: jax.Array, batch: Batch, rate: float) -> jax.Array:
  """Draws where to insert: round(rate n) gaps of n real tokens, one at least.

  Args:
    luck: uniform in [0, 1), (B, L).
    batch: attention_mask (B, L), real tokens first.
    rate: insertions, as a share of the real tokens.

  Returns:
    (B, L) bool, True where a token is inserted behind this one: never behind a
    row's last real token.
  """
  mask = batch['attention_mask'] > 0
  inner = mask & jnp.pad(mask[:, 1:], ((0, 0), (0, 1)))
  count = jnp.maximum(1, jnp.round(rate * mask.sum(-1, keepdims=True)))
  return drawn(luck, inner, count)


def insert(
  batch: Batch, opened: jax.Array, length: int, mask_id: int, pad_id: int
) -> tuple[dict[str, jax.Array], jax.Array]:
  """Inserts a [MASK] into every opened gap.

  Args:
    batch: input_ids and attention_mask (B, L), real tokens first. Of its other
      fields of that shape an inserted token has its left neighbour's value.
    opened: (B, L) bool, of `gaps`.
    length: M of the rows that come out; must hold them.
    mask_id, pad_id: of the tokenizer.

  Returns:
    (batch of rows of M tokens, (B, M) bool where a token was inserted).
  """
  ids = batch['input_ids']
  rows = jnp.arange(len(ids))[:, None]
  ahead = jnp.cumsum(opened, -1) - opened
  place = jnp.arange(ids.shape[1]) + ahead
  blank = jnp.zeros((len(ids), length), place.dtype)
  source = blank.at[rows, place].set(jnp.arange(ids.shape[1]))
  source = jax.lax.cummax(source, axis=1)
  count = batch['attention_mask'].sum(-1, keepdims=True)
  count += opened.sum(-1, keepdims=True)
  real = jnp.arange(length) < count
  inserted = real & (blank.at[rows, place].set(1) == 0)
  longer = {
    name: jnp.take_along_axis(x, source, axis=-1) if x.shape == ids.shape else x
    for name, x in batch.items()
  }
  tokens = jnp.where(inserted, mask_id, longer['input_ids'])
  longer['input_ids'] = jnp.where(real, tokens, pad_id).astype(ids.dtype)
  longer['attention_mask'] = real.astype(batch['attention_mask'].dtype)
  return longer, inserted


def classes(
  logits: jax.Array, replaced: jax.Array, candidate: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
  """Sorts tokens by what the generator and the discriminator made of them.

  Args:
    logits: (B, L) of the discriminator, above 0 for a replaced token.
    replaced: (B, L), 1 where the token isn't the original one.
    candidate: (B, L) bool, the real tokens that aren't special.

  Returns:
    Four of (B, L) bool that part the candidates: both right; the discriminator
    wrong on an original token; deceived by a token that the generator got
    wrong; right on one.
  """
  wrong, found = replaced > 0, logits > 0
  return (
    candidate & ~wrong & ~found,
    candidate & ~wrong & found,
    candidate & wrong & ~found,
    candidate & wrong & found,
  )


def to_restore(
  batch: Batch, given: Batch, noted: jax.Array
) -> dict[str, jax.Array]:
  """Returns what the generator is asked again: the original but for its notes.

  Args:
    batch: the original one.
    given: what it was asked first: positions and labels (B, K), and `blanks`
      (B, L), what stands in place of a noted token.
    noted: (B, L) bool, among those positions.
  """
  ids = jnp.where(noted, given['blanks'], batch['input_ids'])
  still = jnp.take_along_axis(noted, given['positions'], axis=-1)
  labels = jnp.where(still, given['labels'], -100)
  return {**given, 'input_ids': ids, 'labels': labels}


def stacked(batches: list[dict[str, jax.Array]]) -> dict[str, jax.Array]:
  """Returns one batch of several, the forms of one row beside each other.

  So every device keeps its rows. Positions and labels (B, K) get the largest K.
  """
  most = max(batch['positions'].shape[1] for batch in batches)

  def widened(name, x):
    fill = {'positions': 0, 'labels': -100}
    if name not in fill:
      return x
    more = ((0, 0), (0, most - x.shape[1]))
    return jnp.pad(x, more, constant_values=fill[name])

  def joined(name):
    parts = jnp.stack([widened(name, b[name]) for b in batches], axis=1)
    return parts.reshape(-1, *parts.shape[2:])

  return {name: joined(name) for name in batches[0]}
