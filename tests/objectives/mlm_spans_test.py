"""SpanBERT's masks: budget, whole words, lengths, neighbours; its head."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.objectives import mlm_spans

ROWS, LENGTH, MASK = 200, 66, 1


@pytest.fixture(scope='module')
def masked():
  """Words of two tokens between special ones; each id is its place + 10."""
  inner = np.arange(LENGTH - 2) // 2
  words = np.broadcast_to([-1, *inner, -1], (ROWS, LENGTH))
  ids = np.broadcast_to(np.arange(LENGTH) + 10, (ROWS, LENGTH))
  batch = {'input_ids': jnp.asarray(ids), 'word_ids': jnp.asarray(words)}
  out = mlm_spans.mask_spans(
    jax.random.key(0), batch, rate=0.25, mask_id=MASK, vocab_size=9,
    shares=(0.8, 0.1), stop=0.2, longest=10,
  )  # fmt: skip
  return {key: np.asarray(value) for key, value in out.items()}


def spans(out):
  """(row, first, last, tokens there now) of every span."""
  found = []
  for row in range(ROWS):
    kept = out['labels'][row] >= 0
    ends = zip(out['left'][row][kept] + 1, out['right'][row][kept] - 1)
    for first, last in sorted(set(ends)):
      found.append((row, first, last, out['input_ids'][row][first : last + 1]))
  return found


def test_spans_meet_the_budget_of_whole_words(masked):
  kept = masked['labels'] >= 0
  assert (kept.sum(-1) == 16).all()
  # Each token is asked for once, and what stood there.
  places = masked['positions']
  np.testing.assert_array_equal(masked['labels'][kept], places[kept] + 10)
  np.testing.assert_array_equal(
    masked['place'][kept], (places - masked['left'] - 1)[kept]
  )
  all_tokens = 0
  for row, first, last, _ in spans(masked):
    assert 1 <= first <= last <= LENGTH - 2
    inside = (places[row] >= first) & (places[row] <= last) & kept[row]
    assert inside.sum() == last - first + 1
    assert first % 2 == 1 and last % 2 == 0  # words are whole
    all_tokens += last - first + 1
  assert all_tokens == kept.sum()


def test_lengths_are_geometric_and_each_span_has_one_fate(masked):
  found = spans(masked)
  words = np.array([(last - first + 1) // 2 for _, first, last, _ in found])
  # 8 words a row: the last of its spans is cut short, so less than 3.8.
  assert words.min() == 1 and 2.3 < words.mean() < 3.3
  fates = []
  for _, first, last, now in found:
    kept = now == np.arange(first, last + 1) + 10
    assert kept.all() or (now == MASK).all() or (now < 9).all()
    fates.append('kept' if kept.all() else (now == MASK).all())
  assert 0.72 < fates.count(True) / len(fates) < 0.88
  assert 0.04 < fates.count('kept') / len(fates) < 0.17


def test_unlimited_lengths_are_those_of_the_paper():
  words = jnp.asarray(np.arange(600)[None].repeat(300, 0))
  first, last, _ = mlm_spans._spans(jax.random.key(1), words, 0.99, 0, 0.2, 10)
  # Of the four tries of each row the first is never in the way of another.
  sizes = np.asarray(last - first + 1)[np.asarray(first) >= 0]
  ends = np.unique(np.asarray(first)[np.asarray(first) >= 0])
  assert sizes.max() == 10 and len(ends) > 300
  counts = np.bincount(sizes)[1:] / np.arange(1, 11)
  mean = (counts * np.arange(1, 11)).sum() / counts.sum()
  assert mean == pytest.approx(3.8, abs=0.2)


def test_another_head_is_refused():
  context = SimpleNamespace(model=SimpleNamespace(kind='causal_lm'))
  with pytest.raises(ValueError, match="found 'causal_lm'"):
    mlm_spans.make(context)
