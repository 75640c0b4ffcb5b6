"""Folds: each row in one of them, strata and groups kept, the same again."""

import json

import numpy as np
import pytest

from glue_jax.data import folds, load
from glue_jax.data.table import Table
from glue_jax.data.tasks import by_name

TASK = by_name.make(
  'mine', kind='classification', columns=('text',), labels='no,yes', group='who'
)
ALONE = by_name.make(
  'mine', kind='classification', columns=('text',), labels='no,yes'
)


def table(labels, groups=None, task=ALONE):
  rows = [
    {'text': f'word{i}', 'label': label, 'idx': i}
    for i, label in enumerate(labels)
  ]
  for row, group in zip(rows, groups or []):
    row['group'] = group
  return Table(task, 'train', rows, 'rows', 'jsonl', True)


def test_folds_are_stratified_and_deterministic():
  labels = [0] * 30 + [1] * 12
  place = folds.assign(table(labels), 3, 0)
  for fold in range(3):
    held = np.array(labels)[place == fold]
    assert np.bincount(held).tolist() == [10, 4]
  np.testing.assert_array_equal(place, folds.assign(table(labels), 3, 0))
  assert (place != folds.assign(table(labels), 3, 1)).any()


def test_groups_stay_together():
  groups = [f'g{i % 9}' for i in range(45)]
  place = folds.assign(table([0, 1, 0] * 15, groups, TASK), 3, 0)
  assert set(place) == {0, 1, 2}
  for group in set(groups):
    members = [p for p, g in zip(place, groups) if g == group]
    assert len(set(members)) == 1


def test_rare_labels_and_numbers_are_dealt_too():
  place = folds.assign(table([0] * 8 + [1]), 4, 0)
  assert np.bincount(place).min() >= 2
  place = folds.assign(table([0, 0, 1, 1]), 4, 0)  # no label is in all folds
  assert sorted(place) == [0, 1, 2, 3]
  numbers = by_name.make('n', kind='regression', columns=('text',))
  place = folds.assign(table([0.1 * i for i in range(10)], None, numbers), 5, 0)
  assert np.bincount(place).tolist() == [2] * 5


@pytest.mark.parametrize(
  'groups, number, message',
  [
    (None, 4, '3 rows and 4 folds'),
    (['a', 'b', 'a'], 3, "2 values in the group column 'who' and 3 folds"),
    (['a', None, 'b'], 2, "row 1: no value in the group column 'who'"),
  ],
)
def test_mistakes(groups, number, message):
  rows = table([0, 1, 0], groups, TASK if groups else ALONE)
  with pytest.raises(ValueError, match=message):
    folds.assign(rows, number, 0)


def test_splits_of_folds_are_disjoint_and_whole(tmp_path):
  (tmp_path / 'mine').mkdir()
  lines = [
    json.dumps({'text': f'w{i}', 'label': i % 2, 'who': f'p{i // 4}', 'id': i})
    for i in range(40)
  ]
  (tmp_path / 'mine' / 'train.jsonl').write_text('\n'.join(lines) + '\n')
  seen = []
  for fold in range(4):
    cut = {'from': 'train', 'folds': 4, 'fold': fold, 'seed': 7}
    test = {'from': 'train', 'fraction': 0.1, 'seed': 1}
    task = by_name.make(
      'mine',
      kind='classification',
      columns=('text',),
      labels=('0', '1'),
      group='who',
      cuts={'fold': cut, 'test': test},
      eval_splits=('fold',),
    )
    held, rest, drawn = (
      {row['idx'] for row in load.load(task, s, tmp_path).rows}
      for s in ('fold', 'train', 'test')
    )
    assert len(held | rest | drawn) == 40 == len(held) + len(rest) + len(drawn)
    # No group is on both sides.
    assert not {i // 4 for i in held} & {i // 4 for i in rest}
    seen += held
  assert len(seen) == len(set(seen)) == 36


@pytest.mark.parametrize(
  'cut, message',
  [
    (dict(folds=3, fold=3), 'a fold below folds'),
    (dict(folds=3, fold=0, fraction=0.1), 'no fraction'),
    (dict(fold=1), 'fold needs folds'),
    (dict(parts=3), r"unknown \['parts'\]"),
  ],
)
def test_cuts_that_mean_nothing_are_refused(cut, message):
  with pytest.raises(ValueError, match=message):
    by_name.make(
      'mine',
      kind='classification',
      columns=('text',),
      labels='a,b',
      cuts={'fold': cut},
    )
