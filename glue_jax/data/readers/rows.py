"""Records of a file to the rows of a task: columns, label, idx.

A row is a dict with the task's columns, `label` (int, float, list of ints, or
None when hidden) and `idx` (the id in the source, unique in the split).
"""

import math
from collections.abc import Iterable
from typing import Any

from glue_jax.data.readers.files import Log, Record
from glue_jax.data.tasks.task import Task

Row = dict[str, Any]


def convert(
  task: Task,
  split: str,
  records: Iterable[tuple[int, Record]],
  log: Log,
  names: dict[str, str],
) -> list[Row]:
  """Rows of a split.

  Args:
    records: (line, record) pairs.
    log: where bad rows are reported.
    names: column of the record by name in the row; 'label' and 'idx' may be
      absent from the records.

  Returns:
    Rows in the order of the records; idx is the record's id, or its position
    (bad rows counted) where it has none.

  Raises:
    ValueError: a bad row (with file and line), two rows with one id, or a
      test split in which only some rows have labels.
  """
  rows, seen, labelled = [], {}, {}
  for position, (line, record) in enumerate(records):
    row = _row(task, split, line, record, log, names)
    if row is None:
      continue
    idx = _idx(record.get(names['idx']), position)
    if idx in seen:
      log.bad(line, f'id {idx!r} was already used in line {seen[idx]}')
      continue
    seen[idx] = line
    row['idx'] = idx
    labelled.setdefault(row['label'] is not None, line)
    rows.append(row)
    log.kept.append(line)
  if len(labelled) == 2:
    raise ValueError(
      f'{log.path}:{labelled[False]}: no label here, but line '
      f'{labelled[True]} has one; a split is labelled in whole or not at all'
    )
  if not rows:
    raise ValueError(
      f'{log.path}:1: no usable row for split {split!r} of {task.name}'
    )
  return rows


def _idx(value: Any, position: int) -> int | str:
  if value is None:
    return position
  if isinstance(value, dict):
    return '-'.join(str(part) for part in value.values())
  text = str(value).strip()
  return int(text) if text.lstrip('-').isdigit() else text


def _row(task, split, line, record, log, names) -> Row | None:
  row: Row = {}
  for column in task.columns:
    value = record[names[column]]
    if task.kind == 'token_classification':
      value = value.split() if isinstance(value, str) else value
      fine = isinstance(value, list) and value
    else:
      fine = isinstance(value, str) and value.strip()
    if not fine:
      log.bad(line, f'column {names[column]!r} is empty or not text')
      return None
    row[column] = value
  if task.kind == 'span':
    extra = ('id', 'title', 'is_impossible', 'answers')
    return {**row, **{key: record[key] for key in extra}, 'label': None}
  if task.candidates:
    row |= {key: record.get(key) for key in ('candidate', 'answers')}
  try:
    row['label'] = parse_label(task, split, record.get(names['label']))
    _check_tags(task, row)
  except ValueError as error:
    log.bad(line, str(error))
    return None
  return row


def _check_tags(task: Task, row: Row) -> None:
  if task.kind == 'token_classification' and row['label'] is not None:
    words = row[task.columns[0]]
    if len(words) != len(row['label']):
      raise ValueError(f'{len(row["label"])} labels for {len(words)} tokens')


def parse_label(task: Task, split: str, value: Any) -> Any:
  """A label as the task's kind wants it; None when it is hidden.

  Raises:
    ValueError: not a label of this task, or hidden in a split that must have
      labels.
  """
  hidden = value is None or str(value).strip() in ('-1', '-1.0', '')
  if hidden and '-1' not in task.labels:
    if split in task.test_splits:
      return None
    raise ValueError(
      f'label {value!r} in split {split!r}: -1 or nothing marks a hidden '
      f'label and is allowed in test splits only {task.test_splits}'
    )
  if task.kind == 'regression':
    return _score(task, value)
  if task.kind == 'multilabel':
    return task.label_set(value)
  if task.kind == 'token_classification':
    tags = value.split() if isinstance(value, str) else list(value)
    return [task.label_id(tag) for tag in tags]
  if task.kind == 'multiple_choice':
    return _choice(task, value)
  return task.label_id(value)


def _choice(task: Task, value: Any) -> int:
  if value in task.choices:
    return task.choices.index(value)
  number = int(value) if str(value).strip().isdigit() else -1
  if not 0 <= number < len(task.choices):
    raise ValueError(
      f'unknown label {value!r}; expected 0 to {len(task.choices) - 1} or one '
      f'of {list(task.choices)}'
    )
  return number


def _score(task: Task, value: Any) -> float:
  try:
    number = float(value)
  except (TypeError, ValueError):
    number = math.nan
  if not math.isfinite(number):
    raise ValueError(f'unknown label {value!r}; expected a finite number')
  low, high = task.label_range or (-math.inf, math.inf)
  if not low <= number <= high:
    raise ValueError(f'label {value!r} is outside {low} to {high}')
  return number
