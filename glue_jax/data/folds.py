"""Which fold each row of a split is dealt to, for k-fold cross-validation.

The splitters are scikit-learn's: stratified by the label where a row has one
class, plain otherwise (sets, numbers, tags, answers); rows of one group
(`Task.group_column`) are all in one fold. The same rows, number of folds and
seed give the same folds.
"""

import warnings
from typing import Any

import numpy as np


def assign(table: Any, folds: int, seed: int) -> np.ndarray:
  """Returns the fold of each row, (n,) int from 0.

  Args:
    table: a labelled `Table`; its rows have `group` where the task has a group
      column.
    folds: how many, 2 or more.
    seed: of the shuffle.

  Raises:
    ValueError: fewer rows or groups than folds, or a row without its group.
  """
  from sklearn import model_selection

  count, task = len(table), table.task
  if not 2 <= folds <= count:
    raise ValueError(
      f'{table.path}: {count} rows and {folds} folds; expected 2 folds or '
      'more, and a row for each'
    )
  strata = np.zeros(count, int)
  if task.kind in ('classification', 'multiple_choice'):
    strata = table.labels()
  groups = None
  if task.group_column:
    groups = [row.get('group') for row in table.rows]
    if None in groups:
      raise ValueError(
        f'{table.place(groups.index(None))}: no value in the group column '
        f'{task.group_column!r}; every row needs one'
      )
    if len(set(groups)) < folds:
      raise ValueError(
        f'{table.path}: {len(set(groups))} values in the group column '
        f'{task.group_column!r} and {folds} folds; lower the folds'
      )
    groups = np.unique(groups, return_inverse=True)[1]
  kind: type = model_selection.StratifiedKFold
  if groups is not None:
    kind = model_selection.StratifiedGroupKFold
  # Rarer than that, a label can't be in every fold; strata need one that can.
  if np.bincount(strata).max() < folds:
    strata = np.zeros(count, int)
  place = np.empty(count, int)
  splitter = kind(folds, shuffle=True, random_state=seed)
  with warnings.catch_warnings():
    warnings.filterwarnings('ignore', 'The least populated class')
    for fold, (_, held) in enumerate(splitter.split(strata, strata, groups)):
      place[held] = fold
  empty = sorted(set(range(folds)) - set(place.tolist()))
  if empty:
    raise ValueError(
      f'{table.path}: the groups of {task.group_column!r} leave fold '
      f'{empty[0]} of {folds} without rows; lower the folds'
    )
  return place
