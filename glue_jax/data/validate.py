"""What is wrong with a task's splits taken together.

Rows are checked one by one where they are read (columns, labels, ids, empty
files); here are the checks that need whole splits: texts that occur twice, in
two splits, and labels that the training split never shows.
"""

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any

from glue_jax.data.table import Table


@dataclasses.dataclass(frozen=True)
class Finding:
  """One thing that is wrong.

  Attributes:
    leaks: it makes scores wrong: evaluated rows that were trained on, or a
      class that cannot be learnt. Repeated rows within a split do not.
    message: says where, with file and line or row.
  """

  leaks: bool
  message: str


def splits(tables: Mapping[str, Table], train: str = 'train') -> list[Finding]:
  """Findings over all splits.

  Args:
    tables: by split.
    train: name of the split that is trained on.
  """
  texts = {split: _texts(table) for split, table in tables.items()}
  findings = [
    f for split in tables for f in _repeated(tables[split], texts[split])
  ]
  names = list(tables)
  for i, one in enumerate(names):
    for other in names[i + 1 :]:
      findings += _shared(tables[one], texts[one], tables[other], texts[other])
  if train in tables:
    findings += [Finding(False, text) for text in absent(tables[train])]
  if train in tables and tables[train].labelled:
    for split, table in tables.items():
      if split != train and table.labelled:
        findings += _unseen(tables[train], table)
  return findings


def absent(table: Table) -> list[str]:
  """Classes that no row of a labelled split has, in one message."""
  names = table.task.labels or table.task.choices
  if not (names and table.labelled):
    return []
  seen = {label for row in table.rows for label in _ids(row['label'])}
  missing = [name for i, name in enumerate(names) if i not in seen]
  if not missing:
    return []
  more = f' and {len(missing) - 9} more' if len(missing) > 9 else ''
  return [
    f'{table.split}: no row of {table.path} has the label '
    f'{", ".join(map(repr, missing[:9]))}{more}'
  ]


def _texts(table: Table) -> list[tuple[str, ...]]:
  columns = table.task.columns
  return [tuple(str(row[column]) for column in columns) for row in table.rows]


def _repeated(table: Table, texts: list) -> list[Finding]:
  counts = collections.Counter(texts)
  extra = len(texts) - len(counts)
  if not extra:
    return []
  first = next(i for i, text in enumerate(texts) if counts[text] > 1)
  twin = texts.index(texts[first], first + 1)
  message = (
    f'{table.split}: {extra} rows repeat the text of another row (rows {first} '
    f'and {twin} are the first: {table.place(first)} and {table.place(twin)})'
  )
  return [Finding(False, message)]


def _shared(
  one: Table, known: list, other: Table, texts: list
) -> list[Finding]:
  at = {text: row for row, text in reversed(list(enumerate(known)))}
  shared = [row for row, text in enumerate(texts) if text in at]
  if not shared:
    return []
  first = shared[0]
  message = (
    f'{other.split}: {len(shared)} rows have a text that is also in {one.split}'
    f' (first: row {first}, {other.place(first)} is '
    f'{one.place(at[texts[first]])})'
  )
  return [Finding(True, message)]


def _unseen(train: Table, table: Table) -> list[Finding]:
  """Classes of a split that the training split does not have."""
  names = table.task.labels or table.task.choices
  if not names:
    return []
  known = {label for row in train.rows for label in _ids(row['label'])}
  first = {}
  for number, row in enumerate(table.rows):
    for label in _ids(row['label']):
      if label not in known:
        first.setdefault(label, number)
  return [
    Finding(
      True,
      f'{table.split}: {table.place(row)} has the label {names[label]!r}, '
      f'which no row of {train.split} has',
    )
    for label, row in sorted(first.items())
  ]


def _ids(label: Any) -> list[int]:
  return label if isinstance(label, list) else [label]
