"""Which tokens DeBERTa masks: one run of them in each window of a row.

As the official code of He et al. 2021 (arXiv 2006.03654, 2111.09543) has it;
the papers only name a share of 15 % and, for the first two versions, n-grams up
to 3. From left to right: n is drawn with probability proportional to 1 / n,
the next n int(1 / rate) units are a window, and n units in a row from a place
drawn in it are chosen; the next window begins behind both. Of a row with m real
tokens, special ones counted, round(rate m) may be chosen, so that the end of a
long row is left in peace. A unit is a token, or a word where n may exceed 1.

Where the code goes on until the budget is reached or passed, units here end
with the last that fits it; the first is taken in any case. A word longer than
any row's budget is taken token by token (objectives/mlm.py).
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from glue_jax.objectives import mlm


def chosen(
  rng: jax.Array, batch: Mapping[str, jax.Array], rate: float, grams: int
) -> jax.Array:
  """Draws the tokens to predict: (B, L) bool, at most `mlm.most` in a row.

  Args:
    rng: typed key.
    batch: attention_mask (B, L); word_ids (B, L), -1 where nothing may be
      chosen.
    rate: share of the tokens.
    grams: the most units in a run.
  """
  words = batch['word_ids']
  candidate, length = words >= 0, words.shape[-1]
  most = mlm.most(rate, length)
  begins = candidate
  if grams > 1:
    begins = candidate & mlm.unit_starts(words, most)
  unit = jnp.cumsum(begins, -1) - 1  # the number of each token's unit
  runs = _runs(rng, begins.sum(-1), int(1 / rate), grams, length)
  inside = jnp.take_along_axis(runs, jnp.maximum(unit, 0), -1) & candidate
  # Tokens that are chosen up to the end of each unit.
  count = jnp.zeros(words.shape, int)
  rows = jnp.arange(len(words))[:, None]
  count = count.at[rows, jnp.where(candidate, unit, length)].add(
    inside, mode='drop'
  )
  upto = jnp.take_along_axis(jnp.cumsum(count, -1), jnp.maximum(unit, 0), -1)
  own = jnp.take_along_axis(count, jnp.maximum(unit, 0), -1)
  real = batch['attention_mask'].sum(-1, keepdims=True)
  budget = jnp.clip(jnp.round(rate * real), 1, most)
  return inside & ((upto <= budget) | (upto == own))


def _runs(rng, units, window, grams, length):
  """(B, L) bool: whether a row's first, second, ... unit is chosen."""
  rows, turns = len(units), -(-length // window)
  gram_rng, place_rng = jax.random.split(rng)
  share = jnp.cumsum(1 / jnp.arange(1, grams + 1))
  luck = jax.random.uniform(gram_rng, (rows, turns)) * share[-1]
  sizes = 1 + jnp.searchsorted(share[:-1], luck, side='right')
  places = jax.random.uniform(place_rng, (rows, turns))

  def turn(offset, drawn):
    size, place = drawn
    width = jnp.minimum(size * window, units - offset)
    first = offset + (place * width).astype(int)
    last = jnp.minimum(first + size, units)
    return jnp.maximum(offset + width, last), (first, last)

  _, (first, last) = jax.lax.scan(
    turn, jnp.zeros_like(units), (sizes.T, places.T)
  )
  # One more from a run's first unit on, one less behind its last.
  change = jnp.zeros((rows, length + 1), int)
  row = jnp.arange(rows)
  change = change.at[row, first].add(1).at[row, last].add(-1)
  return jnp.cumsum(change, -1)[:, :-1] > 0
