"""mini-GLUE: repeatable, without leaks, and out of reach of word counts."""

import collections

import numpy as np
import pytest

from glue_jax.data import load
from glue_jax.data.tasks import by_name, synthetic

NAMES = ('mini_acceptability', 'mini_sentiment', 'mini_entailment')


@pytest.mark.parametrize('name', NAMES)
def test_splits_are_repeatable_balanced_and_apart(name):
  columns = by_name.get(name).columns
  seen = set()
  for split, size in synthetic.SIZES.items():
    rows = synthetic.generate(name, split, 3)
    assert rows == synthetic.generate(name, split, 3)
    assert len(rows) == size == by_name.get(name).splits[split]
    assert sum(row['label'] for row in rows) == size // 2
    texts = {tuple(row[column] for column in columns) for row in rows}
    assert len(texts) == size
    assert not texts & seen
    seen |= texts
  assert rows != synthetic.generate(name, split, 4)


@pytest.mark.parametrize(
  'name, most', [(NAMES[0], 0.58), (NAMES[1], 0.65), (NAMES[2], 0.58)]
)
def test_bag_of_words_fails(name, most):
  assert 0.4 < synthetic.bag_of_words_score(name) < most


def test_both_classes_use_the_same_words():
  for name in (NAMES[0], NAMES[2]):
    counts = collections.defaultdict(lambda: np.zeros(2))
    for row in synthetic.generate(name, 'train'):
      for column in by_name.get(name).columns:
        for word in row[column].split():
          counts[column, word][row['label']] += 1
    for key, pair in counts.items():
      assert abs(pair[0] - pair[1]) < 5 * np.sqrt(pair.sum()) + 20, key


def test_labels_follow_the_grammar():
  nouns = set(synthetic._NOUNS)
  for row in synthetic.generate(NAMES[0], 'validation'):
    words = row['sentence'].split()
    if row['label']:
      subject = next(w for w in words if w in nouns or w[:-1] in nouns)
      verbs = synthetic._VERBS
      verb = next(w for w in words if w in verbs or w[:-1] in verbs)
      assert (subject in nouns) == (verb not in verbs), row


def test_unknown_names():
  with pytest.raises(ValueError, match='mini_acceptability'):
    synthetic.generate('mini_parsing', 'train')
  with pytest.raises(ValueError, match='no split'):
    load.load(by_name.get(NAMES[0]), 'dev')
