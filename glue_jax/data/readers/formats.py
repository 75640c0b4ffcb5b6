"""Which reader reads a file: the declared format, or the ending and content.

declared     `Task.format`, the part before the colon in an own task's
             `dataset: csv:data.txt`: it wins over the ending
a style      raw layouts of known tasks, `Task.style`
the ending   in any case, .gz set aside: see ENDINGS
the content  .json is a SQuAD file, an array of objects, or JSON lines

Of objects, and of rows of Parquet and Arrow, a column may be nested: the name
`answers.text.0` is the first text of `answers`.
"""

import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from glue_jax.data.readers import (
  arrow,
  conll,
  e2e,
  json_files,
  polish,
  squad,
  superglue,
  values,
)
from glue_jax.data.readers.files import Log, Record, read_csv, read_tsv
from glue_jax.data.tasks.task import Task

# {ending: format}, most usual first.
ENDINGS = {
  '.tsv': 'tsv',
  '.jsonl': 'jsonl',
  '.csv': 'csv',
  '.json': 'json',
  '.txt': 'tsv',
  '.iob': 'conll',
  '.conll': 'conll',
  '.ndjson': 'jsonl',
  '.tab': 'tsv',
  '.bio': 'conll',
  '.parquet': 'parquet',
  '.pq': 'parquet',
  '.arrow': 'arrow',
  '.feather': 'arrow',
}
# Formats of rows with named columns; the others say themselves what is what.
_TABLES = ('jsonl', 'json', 'csv', *arrow.FORMATS)
# Readers of (path, log, column of the text, label), by `Task.style`.
_STYLED: dict[str, Callable[..., Iterator[tuple[int, Record]]]] = {
  'conll': conll.read_conll,
  'e2e_aligned': e2e.read_aligned,
  'nested_conll': conll.read_nested_conll,
  'labelled_lines': polish.read_labelled_lines,
  'punctuation': polish.read_punctuation,
}


class Opened(NamedTuple):
  """An opened file.

  Attributes:
    format: how it is read.
    records: (line, record) pairs.
    names: column of a record by name in the row: the task's columns, 'label'
      and 'idx'.
  """

  format: str
  records: Iterable[tuple[int, Record]]
  names: dict[str, str]


def by_ending(name: str) -> str:
  """The format that a file's name stands for; '' if for none."""
  lower = name.lower().removesuffix('.gz')
  return ENDINGS.get(pathlib.PurePath(lower).suffix, '')


def open_file(task: Task, split: str, path: pathlib.Path, log: Log) -> Opened:
  """The records of one split's file.

  Args:
    task: the task's record.
    split: its split.
    path: the file.
    log: where bad rows are reported.

  Raises:
    ValueError: no reader for this format and kind of task, or not in that
      format.
  """
  ending = by_ending(path.name)
  # A style is that of raw files; tables say themselves what they hold.
  style = task.style if ending not in _TABLES else ''
  style = task.format or style or ending
  if style == 'json' and json_files.is_array(path):
    style = 'array'
  elif style == 'json':
    style = 'squad' if task.kind == 'span' else 'jsonl'
  labelled = split not in task.test_splits
  if style in _STYLED:
    return _styled(task, style, path, log)
  if style == 'squad' and task.kind == 'span':
    return Opened(style, squad.read_squad(path, log), _names(task))
  if style == 'datasets':  # its data lies in Arrow's streams
    style = 'arrow'
  if style in ('jsonl', 'array', *arrow.FORMATS):
    return _objects(task, style, labelled, path, log)
  if style in ('csv', 'tsv') and task.kind != 'span':
    return _rows(task, style, labelled, path, log)
  raise ValueError(
    f'{path}: no reader for {style or path.suffix!r} files of a {task.kind} '
    f'task; expected {_expected(task)}'
  )


def _expected(task: Task) -> str:
  if task.kind == 'span':
    return '.json (SQuAD layout), .jsonl, .parquet or .arrow (a question a row)'
  return f'{", ".join(ENDINGS)}, or a format before the path in a task file'


def _names(task: Task) -> dict[str, str]:
  names = {column: column for column in task.columns}
  if task.group_column:
    names['group'] = task.group_column
  return names | {'label': task.label_column, 'idx': 'idx'}


def _needed(task: Task, labelled: bool) -> tuple[str, ...]:
  label = labelled and task.kind != 'span'
  return (*task.columns, *([task.label_column] if label else ()))


def _styled(task, style, path, log) -> Opened:
  names = _names(task)
  if task.tsv:
    names |= {task.columns[0]: task.tsv.columns[0], 'label': task.tsv.label}
  elif style == 'conll':
    names |= {task.columns[0]: '0', 'label': '-1'}
  columns = (names[task.columns[0]], names['label'])
  return Opened(style, _STYLED[style](path, log, *columns), names)


def _rows(task, style, labelled, path, log) -> Opened:
  names, needed = _names(task), _needed(task, labelled)
  if style == 'csv':
    return Opened(style, read_csv(path, log, needed), names)
  headerless = ()
  if task.tsv:
    names = dict(zip(task.columns, task.tsv.columns))
    names |= {'label': task.tsv.label, 'idx': task.tsv.idx}
    needed = tuple(names[n] for n in task.columns)
    if labelled:
      needed, headerless = (*needed, task.tsv.label), task.tsv.headerless
  return Opened(style, read_tsv(path, log, needed, headerless), names)


def _objects(task, style, labelled, path, log) -> Opened:
  layout = task.style in superglue.LAYOUTS
  names = _names(task)
  needed = () if layout else _needed(task, labelled)
  if style in arrow.FORMATS:
    # Other columns may be images; a layout and a question have further ones.
    some = not (layout or task.kind == 'span')
    records = arrow.read(
      path, log, style, needed,
      target=task.label_column,
      labels=task.labels or task.choices,
      kept=(*names.values(), 'id') if some else None,
    )  # fmt: skip
  elif style == 'array':
    records = json_files.read_array(path, log, needed)
  else:
    records = json_files.read_jsonl(path, log, needed)
  records = reached(records, names.values())
  if layout:
    records = superglue.read(records, log, task.style)
  elif task.kind == 'span':
    records = _questions(task, records, log)
  return Opened(style, records, names)


def reached(
  records: Iterable[tuple[int, Record]], names: Iterable[str]
) -> Iterator[tuple[int, Record]]:
  """The records, with what stands at paths in nested columns.

  Args:
    records: (line, record) pairs.
    names: columns, or paths (`answers.text.0`).
  """
  paths = [name for name in names if '.' in name]
  for number, record in records:
    found = {p: values.reach(record, p) for p in paths if values.has(record, p)}
    yield number, record | found


def _questions(task: Task, records, log) -> Iterator[tuple[int, Record]]:
  """Objects of a question each; the line is the id where there is none."""
  ask, context = task.columns
  for number, record in records:
    qa = {'id': str(number), **record, 'question': record[ask]}
    try:
      found = squad.question(qa, record.get('title'), record[context])
    except ValueError as error:
      log.bad(number, str(error))
    else:
      yield number, found | {ask: found['question'], context: found['context']}
