"""What a person should know of a score: its rows, and predictions gone flat."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glue_jax.data.table import Table
from glue_jax.evaluation.predictions import Predictions, class_names, named


def row_counts(tables: Mapping[str, Table]) -> dict[str, dict[str, int]]:
  """Returns {split: {'used', 'given'}}: bad rows and limits leave some out."""
  return {
    split: {'used': len(table), 'given': len(table) + table.left_out}
    for split, table in tables.items()
  }


def degenerate(predictions: Mapping[str, Predictions]) -> list[str]:
  """Says of which splits all predictions are one, or not numbers.

  A split whose labels are all the same may be predicted so.

  Args:
    predictions: by split.
  """
  notes = []
  for split, found in predictions.items():
    values = _countable(found, found.values)
    if found.task.kind == 'regression':
      wrong = int((~np.isfinite(values)).sum())
      if wrong:
        notes.append(
          f'{split}: {wrong} of {len(values)} predictions are not finite'
        )
        continue
    golds = [] if found.labels is None else _countable(found, found.labels)
    if len(values) > 1 and len(set(values)) == 1 and len(set(golds)) != 1:
      what = (
        'tags' if found.task.kind == 'token_classification' else ('predictions')
      )
      one = list(values[0]) if isinstance(values[0], tuple) else values[0]
      shown = named(one, class_names(found.task))
      notes.append(f'{split}: all {len(values)} {what} are {shown!r}')
  return notes


def _countable(found: Predictions, values: Any) -> list:
  """Tags one by one; sets as tuples."""
  rows = [v.tolist() if isinstance(v, np.ndarray) else v for v in values]
  if found.task.kind == 'token_classification':
    return [tag for row in rows for tag in row if tag >= 0]
  return [tuple(v) if isinstance(v, list) else v for v in rows]
