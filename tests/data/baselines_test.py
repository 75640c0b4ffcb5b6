"""Baselines: what they learn from train, and the scores they get."""

import pytest

from glue_jax.data import baselines
from glue_jax.data.table import Table
from glue_jax.data.tasks import by_name


def table(task, split, rows):
  def ids(x):
    return [task.label_id(y) for y in x] if isinstance(x, list) else x

  made = [row | {'label': ids(row['label'])} for row in rows]
  return Table(task, split, made, 'rows', 'generated', True)


def test_classes():
  task = by_name.make(
    'mine',
    kind='classification',
    columns=('a', 'b'),
    labels=('no', 'yes'),
    metrics=('accuracy', 'macro_f1'),
  )

  # The label is decided by the second text alone.
  def rows(count):
    return [
      {
        'a': f'tea {("warm", "cold")[i % 2]}',
        'b': ('some milk', 'warm milk', 'no milk')[i % 3],
        'label': int(i % 3 == 1),
      }
      for i in range(count)
    ]

  scores = baselines.scores(
    table(task, 'train', rows(60)), table(task, 'validation', rows(30))
  )
  assert scores['majority']['accuracy'] == pytest.approx(2 / 3)
  assert scores['majority']['macro_f1'] == pytest.approx(0.4)
  assert scores['bag of words'] == {'accuracy': 1.0, 'macro_f1': 1.0}


def test_tags():
  task = by_name.make(
    'tags',
    kind='token_classification',
    columns=('tokens',),
    labels=('O', 'B-A', 'I-A'),
  )
  train = [
    {'tokens': ['Ann', 'sings'], 'label': ['B-A', 'O']},
    {'tokens': ['Ann', 'Lee', 'is', 'in'], 'label': ['B-A', 'I-A', 'O', 'O']},
  ]
  gold = [{'tokens': ['Ann', 'Lee', 'Roe'], 'label': ['B-A', 'I-A', 'I-A']}]
  scores = baselines.scores(
    table(task, 'train', train), table(task, 'validation', gold)
  )
  assert scores['majority']['micro_f1'] == scores['majority']['accuracy'] == 0
  assert scores['own tag']['accuracy'] == pytest.approx(2 / 3)
  assert scores['own tag']['micro_f1'] == 0  # the chunk ends one word early


def test_other_kinds_are_refused():
  task = by_name.make('n', kind='regression', columns=('a',))
  rows = table(task, 'validation', [{'a': 'x', 'label': 1.0}])
  with pytest.raises(ValueError, match='no baseline for a regression task'):
    baselines.scores(rows, rows)
