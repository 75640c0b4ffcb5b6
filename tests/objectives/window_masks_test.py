"""Windows of masks: one run in each, from left to right, up to the budget."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.objectives import mlm, mlm_ngrams, window_masks
from tests import quick

ROWS, LENGTH, RATE = 200, 62, 0.15


def batch(word=1):
  """Rows of 62 and 20 tokens, a special one at both ends, words of `word`."""
  lengths = np.where(np.arange(ROWS) % 2, 20, LENGTH)[:, None]
  place = np.arange(LENGTH)
  inner = (place > 0) & (place < lengths - 1)
  return {
    'attention_mask': jnp.asarray(place < lengths, jnp.int32),
    'word_ids': jnp.where(inner, (place - 1) // word, -1),
  }


def chosen(given, grams):
  run = quick.jit(window_masks.chosen, static_argnums=(2, 3))
  found = np.asarray(run(jax.random.key(0), given, RATE, grams))
  assert not found[np.asarray(given['word_ids']) < 0].any()
  assert found.sum(-1).max() <= mlm.most(RATE, LENGTH)
  return found


def test_single_tokens_one_in_each_window_of_six():
  found = chosen(batch(), 1)
  # Of 62 tokens 9, the last of ten windows is out of the budget; of 20 three.
  assert set(found[::2].sum(-1)) == {9} and set(found[1::2].sum(-1)) == {3}
  windows = found[::2, 1:55].reshape(-1, 9, 6)
  assert (windows.sum(-1) == 1).all() and not found[::2, 55:].any()
  share = windows.mean((0, 1))
  np.testing.assert_allclose(share, 1 / 6, atol=0.05)


def test_runs_of_whole_words():
  found = chosen(batch(word=2), 3)
  inner = found[::2, 1:61].reshape(-1, 30, 2)
  assert (inner[..., 0] == inner[..., 1]).all()  # a word as a whole
  sizes = []
  for row in inner[..., 0]:
    edges = np.flatnonzero(np.diff(np.pad(row.astype(int), 1)))
    sizes += list(edges[1::2] - edges[::2])
  # One word is the likeliest, two windows may touch.
  counts = np.bincount(sizes)
  assert counts[1] > counts[2] > 0 and counts[3] > 0
  assert found[::2].sum(-1).min() >= 2 and found[::2].sum(-1).max() <= 10


def test_a_first_word_beyond_the_budget_is_taken():
  row = {
    'attention_mask': jnp.ones((1, 6), jnp.int32),
    'word_ids': jnp.array([[-1, 0, 1, 2, 3, -1]]),
  }
  run = quick.jit(window_masks.chosen, static_argnums=(2, 3))
  for key in range(3):
    assert run(jax.random.key(key), row, RATE, 1).sum() == 1
  none = dict(row, word_ids=jnp.full((1, 6), -1))
  assert not run(jax.random.key(0), none, RATE, 1).any()


def test_ngrams_need_shares_of_one_and_a_mask():
  ctx = SimpleNamespace(tokenizer=SimpleNamespace(mask_id=1, vocab_size=9))
  with pytest.raises(ValueError, match='expected parts of 1'):
    mlm_ngrams.make(ctx, mask_share=0.8, random_share=0.3)
  ctx.tokenizer.mask_id = None
  with pytest.raises(ValueError, match=r'\[MASK\]'):
    mlm_ngrams.make(ctx)
