"""Swapped and inserted tokens, and the notebooks: laws of the batch maths."""

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.objectives import courses

MASK, PAD, LENGTH, RATE = 1, 0, 40, 0.15
LENGTHS = np.array([40, 20, 9, 3, 2, 0])


def batch():
  """Rows of several lengths, all tokens different, special ones at the ends."""
  place = np.arange(LENGTH)
  real = place < LENGTHS[:, None]
  inner = (place > 0) & (place < LENGTHS[:, None] - 1)
  return {
    'input_ids': jnp.where(real, 10 + place, PAD),
    'attention_mask': jnp.asarray(real, jnp.int32),
    'token_type_ids': jnp.asarray(real & (place > 10), jnp.int32),
    'word_ids': jnp.where(inner, place, -1),
    'weight': jnp.ones(len(LENGTHS)),
  }


def luck(seed):
  return jax.random.uniform(jax.random.key(seed), (len(LENGTHS), LENGTH))


def test_a_swap_keeps_the_tokens_and_moves_the_chosen_ones():
  given = batch()
  chosen = np.asarray(courses.to_swap(luck(0), given, RATE))
  assert chosen.sum(-1).tolist() == [6, 3, 2, 0, 0, 0]
  assert not chosen[np.asarray(given['word_ids']) < 0].any()
  before = np.asarray(given['input_ids'])
  after = np.asarray(courses.swap(given['input_ids'], jnp.asarray(chosen)))
  np.testing.assert_array_equal(after != before, chosen)
  for old, new, where in zip(before, after, chosen):
    np.testing.assert_array_equal(new[where], np.roll(old[where], 1))


def test_insertions_taken_out_leave_the_text():
  given = batch()
  opened = courses.gaps(luck(1), given, RATE)
  assert opened.sum(-1).tolist() == [6, 3, 1, 1, 1, 0]
  room = courses.inserted_length(LENGTH, RATE)
  longer, inserted = courses.insert(given, opened, room, MASK, PAD)
  inserted = np.asarray(inserted)
  assert inserted.shape == (len(LENGTHS), 46)
  np.testing.assert_array_equal(inserted.sum(-1), opened.sum(-1))
  real = np.asarray(longer['attention_mask']) > 0
  np.testing.assert_array_equal(real.sum(-1), LENGTHS + opened.sum(-1))
  tokens = np.asarray(longer['input_ids'])
  assert (tokens[inserted] == MASK).all() and (tokens[~real] == PAD).all()
  for row, count in enumerate(LENGTHS):
    kept = real[row] & ~inserted[row]
    for name in ('input_ids', 'token_type_ids', 'word_ids'):
      left = np.asarray(longer[name])[row][kept]
      np.testing.assert_array_equal(left, given[name][row, :count])
    if count:
      # The first and the last real token stay the first and the last.
      assert kept[0] and kept[np.flatnonzero(real[row])[-1]]


def test_a_tight_row_holds_its_insertions():
  given = {n: x[:1] for n, x in batch().items()}
  opened = courses.gaps(luck(2)[:1], given, RATE)
  length = LENGTH + int(opened.sum())
  longer, inserted = courses.insert(given, opened, length, MASK, PAD)
  assert longer['attention_mask'].all() and inserted.sum() == 6


def test_the_classes_part_the_candidates():
  given, rng = batch(), np.random.default_rng(0)
  candidate = given['word_ids'] >= 0
  logits = jnp.asarray(rng.normal(size=candidate.shape))
  replaced = jnp.asarray(rng.random(candidate.shape) < 0.3) * candidate
  four = np.stack(courses.classes(logits, replaced, candidate))
  np.testing.assert_array_equal(four.sum(0), candidate)
  perfect = courses.classes(2.0 * replaced - 1, replaced, candidate)
  assert not perfect[1].any() and not perfect[2].any()
  same = courses.classes(logits, 0 * replaced, candidate)
  assert not same[2].any() and not same[3].any()


def test_the_generator_is_asked_again_for_its_notes_alone():
  ids = jnp.array([[5, 6, 7, 8]])
  given = {
    'positions': jnp.array([[1, 3, 0]]),
    'labels': jnp.array([[6, 8, -100]]),
    'blanks': jnp.full((1, 4), MASK),
  }
  noted = jnp.array([[False, False, False, True]])
  asked = courses.to_restore({'input_ids': ids}, given, noted)
  assert asked['input_ids'].tolist() == [[5, 6, 7, MASK]]
  assert asked['labels'].tolist() == [[-100, 8, -100]]


def test_stacked_rows_stand_beside_each_other():
  def one(value, count):
    places = jnp.arange(count)[None] + jnp.zeros((2, 1), jnp.int32)
    rows = jnp.array([[value], [10 * value]])
    return {'x': rows, 'positions': places, 'labels': places + value}

  made = courses.stacked([one(1, 3), one(2, 1)])
  assert made['x'][:, 0].tolist() == [1, 2, 10, 20]
  assert made['positions'].tolist() == [[0, 1, 2], [0, 0, 0]] * 2
  assert made['labels'].tolist() == [[1, 2, 3], [2, -100, -100]] * 2
