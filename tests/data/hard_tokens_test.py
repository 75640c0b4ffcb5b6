"""Hard tokens come back where they were found, and only on the same rows."""

import dataclasses
import hashlib

import numpy as np
import pytest

from glue_jax.data import hard_tokens
from glue_jax.data.examples import Examples


@pytest.fixture
def examples():
  return Examples(
    kind='language_modeling',
    pad_id=0,
    ids=np.arange(2, 13, dtype=np.int32),
    type_ids=np.zeros(11, np.int8),
    bounds=np.array([0, 4, 6, 11]),
    idx=np.arange(3, dtype=np.int32),
    word_ids=np.arange(11, dtype=np.int32),
  )


def test_ranks_stand_at_their_tokens(examples, tmp_path):
  places = [np.array([2, 0]), np.array([], int), np.array([4, 1, 2])]
  path = tmp_path / 'hard.npz'
  hard_tokens.write(path, examples, places, 'model')
  read = hard_tokens.read(path, examples)
  assert read.scored_by == 'model' and not examples.scored_by
  batch = read.batch(np.array([2, 0, 1, -1]), 6)
  np.testing.assert_array_equal(
    batch['hard'],
    [[0, 2, 3, 0, 1, 0], [2, 0, 1, 0, 0, 0], [0] * 6, [0] * 6],
  )
  # About two bytes a token: a table of them is all that grows.
  with np.load(path) as file:
    assert file['places'].dtype == np.uint16 and len(file['places']) == 5


def test_other_rows_and_other_files_are_refused(examples, tmp_path):
  path = tmp_path / 'hard.npz'
  hard_tokens.write(path, examples, [np.array([1])] * 3, 'model')
  other = dataclasses.replace(examples, ids=examples.ids[::-1].copy())
  for rows in (other, examples.take(np.array([0, 1]))):
    with pytest.raises(ValueError, match='of other rows .* score-tokens'):
      hard_tokens.read(path, rows)
  np.savez(path, places=np.zeros(3))
  for name in (path, tmp_path / 'none.npz'):
    with pytest.raises(ValueError, match=r'data.hard_tokens=.*cannot be read'):
      hard_tokens.read(name, examples)


def test_rows_of_more_than_two_bytes_are_refused():
  hard_tokens.check_length(65_535)
  with pytest.raises(ValueError, match='65536 tokens'):
    hard_tokens.check_length(65_536)


def test_the_hash_is_of_names_and_values():
  import jax.numpy as jnp

  leaves = {'b': jnp.ones(2), 'a': jnp.zeros((1, 2))}
  same = dict(reversed(leaves.items()))
  assert hard_tokens.digest(leaves) == hard_tokens.digest(same)
  others = ({'b': jnp.ones(2)}, leaves | {'b': jnp.zeros(2)})
  assert len({*map(hard_tokens.digest, (leaves, *others))}) == 3
  assert len(hard_tokens.digest({})) == hashlib.sha256().digest_size * 2


def test_a_corpus_without_a_hard_token_is_refused(examples, tmp_path):
  with pytest.raises(ValueError, match='no token of 3 rows is hard'):
    hard_tokens.write(tmp_path / 'a.npz', examples, [np.zeros(0)] * 3, 'model')
  assert not (tmp_path / 'a.npz').exists()
