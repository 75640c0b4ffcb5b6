"""Records of a file to the rows of a task: columns, label, idx.

A row is a dict with the task's columns, `label` (int, float, list of ints, the
texts of a question's answers, or None when hidden) and `idx` (the id in the
source, unique in the split), and `group` where the task has a column for it.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from glue_jax.data.readers import squad, values
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
  rows, seen, labelled, ways = [], {}, {}, {}
  lacking: dict[int, None] = {}  # lines of the rows without an id
  for position, (line, record) in enumerate(records):
    row = _row(task, split, line, record, log, names)
    if row is None:
      continue
    text = _id_text(record.get(names['idx']))
    row['idx'] = row_id(text) if text else position
    key = record['id'] if task.kind == 'span' else row['idx']
    if not text and task.kind != 'span':
      lacking[line] = None
    if task.group_column:
      row['group'] = _group(record.get(task.group_column))
    fault = values.text_fault(str(key))
    if fault or key in seen:
      number = not fault and bool({line, seen[key]} & lacking.keys())
      twice = '' if fault else _twice(key, log, seen[key], number)
      log.bad(line, f'id {fault}' if fault else twice)
      continue
    seen[key] = line
    labelled.setdefault(row['label'] is not None, line)
    for way, label in _ways(task, record.get(names['label'])):
      ways.setdefault(way, (line, label))
    rows.append(row)
    log.kept.append(line)
  if len(labelled) == 2:
    raise ValueError(
      f'{log.place(labelled[False])}: no label here, but '
      f'{_line(log, labelled[True])} has one; a split is labelled in whole or '
      'not at all'
    )
  if len(ways) == 2:
    (line, label), (other, number) = ways['name'], ways['number']
    log.note(
      other,
      f'the label {number!r} is read as the number of a class, while '
      f'{_line(log, line)} has the name {label!r}',
    )
  if 0 < len(lacking) < len(rows):
    log.note(
      next(iter(lacking)),
      f'{len(lacking)} rows lack an id, the first here; their idx is the '
      'number of the row from 0',
    )
  if not rows:
    raise ValueError(
      f'{log.path}:1: no usable row for split {split!r} of {task.name}'
    )
  return rows


def unlabelled(task: Task, record: Mapping, position: int, log: Log) -> Row:
  """A row to predict: its texts may be blank, its id may be any.

  Args:
    task: the task's record.
    record: has the task's columns.
    position: of the row; its id where the record has none.
    log: where a value that is no text is reported.
  """
  row: Row = {'label': None}
  for column in task.columns:
    row[column] = _value(
      task, record[column], f'column {column!r}', position + 1, log, blank=True
    )
  given = record.get('idx', record.get('id'))
  row['idx'] = position if given is None else given
  if task.kind == 'span':
    none: dict[str, list] = {'text': [], 'answer_start': []}
    row |= {'id': str(row['idx']), 'title': '', 'is_impossible': False}
    row['answers'] = record.get('answers') or none
  if task.candidates:
    row |= {key: record.get(key) for key in ('candidate', 'answers')}
  return row


def _ways(task: Task, value: Any) -> Iterator[tuple[str, Any]]:
  """('name' or 'number', label) of the labels of a good row."""
  if task.kind == 'token_classification':
    labels = _listed(value) or ()
  elif task.kind == 'classification' and not _hides(task, value):
    labels = (value,)
  else:
    return
  for label in labels:
    if not isinstance(label, bool):  # read by the name that says so
      named = str(label).strip() in task.labels
      yield ('name' if named else 'number'), label


def _id_text(value: Any) -> str:
  """The text of a record's id; '' where it has none."""
  if isinstance(value, dict):
    value = '-'.join(str(part) for part in value.values())
  return '' if value is None else str(value).strip()


def _group(value: Any) -> str | None:
  """What rows of one group share; None where nothing stands."""
  text = '' if value is None else str(value).strip()
  return text or None


def row_id(text: str) -> int | str:
  """The id that a text stands for; 007 is a name, not a number."""
  return int(text) if re.fullmatch('0|-?[1-9][0-9]*', text) else text


def _twice(key: int | str, log: Log, line: int, number: bool) -> str:
  if number:
    return (
      f'row number {key} stands for an id that is missing, and '
      f'{_line(log, line)} has it too; give every row an id, or none'
    )
  return f'id {key!r} was already used in {_line(log, line)}'


def _line(log: Log, line: int) -> str:
  return log.place(line) if log.parts else f'line {line}'


def _value(task, value, where, line, log, blank=False) -> Any:
  """The value of a column; None, reported to `log`, if it isn't one."""
  if task.kind == 'token_classification':
    try:
      value = _listed(value)
      fault = values.words_fault(value, blank)
    except ValueError as error:
      fault = str(error)
  else:
    fault = values.text_fault(value, blank)
  if fault:
    log.bad(line, f'{where} {fault}')
    return None
  return value


def _row(task, split, line, record, log, names) -> Row | None:
  row: Row = {}
  for column in task.columns:
    where = f'column {names[column]!r}'
    row[column] = _value(task, record[names[column]], where, line, log)
    if row[column] is None:
      return None
  if task.candidates:
    row |= {key: record.get(key) for key in ('candidate', 'answers')}
  try:
    if task.kind == 'span':
      return row | _answers(task, split, record)
    row['label'] = parse_label(task, split, record.get(names['label']))
    _check_tags(task, row)
  except ValueError as error:
    log.bad(line, str(error))
    return None
  return row


def _answers(task: Task, split: str, record: Record) -> Row:
  """A question's answers; its label is their texts, None where hidden.

  Raises:
    ValueError: none, in a split that must have labels or a task whose
      questions all have one.
  """
  key, answers = record['id'], record['answers']
  test = split in task.test_splits
  # A blank test file may have empty lists in the places of answers.
  blank = test and record['is_impossible'] is None
  hidden = answers is None or (blank and not answers['text'])
  if hidden and not test:
    raise ValueError(
      f'question {key}: no key answers; only test splits '
      f'{task.test_splits} may hide them'
    )
  answers = squad.seen(answers or {'text': [], 'answer_start': []})
  if not (hidden or answers['text'] or task.unanswerable):
    raise ValueError(
      f'question {key}: no answer, and task {task.name} expects one for each '
      'question; a task with unanswerable questions says so: unanswerable: '
      'true in its file, --config.task.unanswerable=True'
    )
  return {
    'id': key,
    'title': record['title'],
    'is_impossible': bool(record['is_impossible']),
    'answers': answers,
    'label': None if hidden else answers['text'],
  }


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
  if _hides(task, value):
    if split in task.test_splits:
      return None
    none = '; a row with no label has []' if task.kind == 'multilabel' else ''
    tests = list(task.test_splits) or 'and this task names none'
    raise ValueError(
      f'label {value!r} in split {split!r} marks a hidden label, which is '
      f'allowed in test splits only, {tests}{none}'
    )
  if task.kind == 'regression':
    return _score(task, value)
  if task.kind == 'multilabel':
    return task.label_set(value)
  if task.kind == 'token_classification':
    try:
      tags = _listed(value)
    except ValueError as error:
      raise ValueError(f'label {error}') from None
    if not isinstance(tags, (list, tuple)):
      raise ValueError(f'label is {values.shown(value)}; expected a list')
    return [task.label_id(tag) for tag in tags]
  if task.kind == 'multiple_choice':
    return _choice(task, value)
  if task.kind == 'generation':
    fault = values.text_fault(value)
    if fault:
      raise ValueError(f'target {fault}')
    return value
  return task.label_id(value)


def _listed(value: Any) -> Any:
  """A list that stands as text: JSON, as a table's cell has it, or words.

  Raises:
    ValueError: a list in the quotes of another language.
  """
  if not isinstance(value, str):
    return value
  if re.fullmatch(r'\s*\[\s*(".*)?\]\s*', value, re.DOTALL):
    try:
      return json.loads(value)
    except ValueError:
      pass
  if re.fullmatch(r"""\s*\[(['"]).*['"]\]\s*""", value, re.DOTALL):
    raise ValueError(
      f'is {values.shown(value)}; expected a JSON list, ["a", "b"], or words '
      'with blanks between them'
    )
  return values.words(value)


def _hides(task: Task, value: Any) -> bool:
  """Whether a value stands for a hidden label.

  Nothing does in every task, and -1, as in GLUE's files, where it is neither
  a number in the task's range nor the name of a class.
  """
  text = '' if value is None else str(value).strip()
  if task.kind == 'generation':
    return not text
  if text in task.labels or text not in ('', '-1', '-1.0'):
    return False
  if text and task.kind == 'regression':
    low, high = task.label_range or (-math.inf, math.inf)
    return not low <= -1 <= high
  return not text or not {'-1', '-1.0'} & set(task.labels)


def _choice(task: Task, value: Any) -> int:
  # By name first, whether a file has it as a text or as a number.
  text = '' if isinstance(value, bool) else str(value).strip()
  if text in task.choices:
    return task.choices.index(text)
  number = int(text) if re.fullmatch('0|[1-9][0-9]*', text) else -1
  if not 0 <= number < len(task.choices):
    raise ValueError(
      f'unknown label {value!r}; expected 0 to {len(task.choices) - 1} or one '
      f'of {list(task.choices)}'
    )
  return number


def _score(task: Task, value: Any) -> float:
  try:
    number = values.number(value)
  except ValueError as error:
    raise ValueError(f'unknown label {error}') from None
  low, high = task.label_range or (-math.inf, math.inf)
  if not low <= number <= high:
    raise ValueError(f'label {value!r} is outside {low} to {high}')
  return number
