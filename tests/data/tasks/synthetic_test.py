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


# What a person types who knows the task's words, and what it says.
ONE_CLAUSE = {
  'the film is great .': 1,
  'the film is dull .': 0,
  'the film is very great .': 1,
  'the film is not great .': 0,
  'the film is not boring .': 1,
  'the film is not very great .': 0,
  'this story is lovely': 1,
  'this story is not lovely': 0,
  'it is a great film': 1,
  'it is not a great film .': 0,
  'it is not an ugly film .': 1,
  'a very boring plot .': 0,
  'not a silly plot': 1,
}


def test_sentences_of_one_clause_are_in_the_grammar():
  """In any split: each is drawn once."""
  labels = {
    row['sentence']: row['label']
    for seed in range(8)
    for split in synthetic.SIZES
    for row in synthetic.generate(NAMES[1], split, seed)
  }
  found = {text: labels.get(text) for text in ONE_CLAUSE}
  assert found == ONE_CLAUSE


def test_no_word_of_one_clause_tells_its_label():
  counts = collections.defaultdict(lambda: np.zeros(2))
  conjunctions = {'but', 'although', 'and'}
  for row in synthetic.generate(NAMES[1], 'train'):
    words = row['sentence'].split()
    if not conjunctions & set(words):
      for word in set(words):
        counts[word][row['label']] += 1
  assert sum(pair.sum() for pair in counts.values()) > 5000
  for word, pair in counts.items():
    assert abs(pair[0] - pair[1]) < 5 * np.sqrt(pair.sum()) + 5, word


def test_unknown_names():
  with pytest.raises(ValueError, match='mini_acceptability'):
    synthetic.generate('mini_parsing', 'train')
  with pytest.raises(ValueError, match='no split'):
    load.load(by_name.get(NAMES[0]), 'dev')
