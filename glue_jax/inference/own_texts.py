"""A user's own texts to predict, from a file or standard input, as they come.

One row a line, a blank one too; between JSON lines blank ones are passed over.
The format is what is asked for, or what the file's ending says, or what its
first line shows:

  jsonl  objects with the task's columns
  json   an array of such objects; a SQuAD file, for questions
  csv    a header with the task's columns, RFC 4180
  tsv    fields with tabs between them; a header with the task's columns, or
         none and the columns in the task's order; under a header in quotes
         all fields are read as CSV's
  text   one text a line, tabs and all; of several columns as tsv, no header
  parquet, arrow
         tables with the task's columns; a folder or a pattern of such files
         too, see data/readers/split_files.py; not from standard input

Ids in `idx` or `id` are kept. Only `json` is read whole: of lines, rows are
given as soon as no further one has come.
"""

import csv
import itertools
import json
import pathlib
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from absl import logging

from glue_jax.data.readers import (
  arrow,
  formats,
  json_files,
  rows,
  split_files,
  squad,
)
from glue_jax.data.readers.files import Log, in_quotes
from glue_jax.data.tasks.task import Task
from glue_jax.inference import text_lines

FORMATS = ('jsonl', 'json', 'csv', 'tsv', 'text', *arrow.FORMATS)
_IDS = ('idx', 'id')
# How tables begin: Parquet; Arrow's file, and its stream.
_MAGIC = {
  b'PAR1': 'parquet',
  b'ARRO': 'arrow',
  b'\xff\xff\xff\xff': 'arrow',
}


def groups(
  path: str, task: Task, style: str | None = None, size: int = 1024
) -> Iterator[list[dict]]:
  """Rows in groups, for bounded memory.

  Args:
    path: of the file; '-' = standard input.
    task: its columns are what a row has.
    style: one of FORMATS; None = by ending and content.
    size: the largest group; it is smaller where no further line has come.

  Yields:
    dicts with the task's columns; `idx` where the source has `idx` or `id`,
    None where that is null or blank; `id` beside it where both say different.

  Raises:
    ValueError: no row, or a line that doesn't fit the format, with its number.
    FileNotFoundError: no such file.
  """
  if style not in (None, *FORMATS):
    raise ValueError(f'format {style!r}; expected one of {FORMATS}')
  name = named(path)
  log = Log(pathlib.Path(name), droppable=False)
  table = style if style in arrow.FORMATS else None
  if style is None and path != '-':
    table = _table_format(pathlib.Path(path))
  if table:
    yield from _grouped(_tables(task, path, table), task, log, size)
    return
  with text_lines.opened(path) as file:
    lines = text_lines.Lines(file, log)
    head = list(itertools.islice(lines, 1) if style else _until_text(lines))
    if not head:
      raise ValueError(f'{name} is empty; expected rows')
    style = style or _by_content(task, name, head[-1])
    found = _READERS[style](task, itertools.chain(head, lines), log)
    none = True
    for group in _grouped(found, task, log, size, lambda: lines.waiting):
      none = False
      yield group
    if none:
      raise ValueError(f'{name} has no rows; expected at least one')


def _grouped(
  found: Iterator[dict],
  task: Task,
  log: Log,
  size: int,
  waiting: Callable[[], bool] = lambda: False,
) -> Iterator[list[dict]]:
  """Rows in groups; those before a fault are given before it is raised."""
  group: list[dict] = []
  try:
    for position, row in enumerate(found):
      rows.unlabelled(task, row, position, log)  # raises
      group.append(row)
      if len(group) >= size or waiting():
        yield group
        group = []
  except Exception:
    if group:
      yield group
    raise
  if group:
    yield group


def _table_format(path: pathlib.Path) -> str | None:
  """The format of tables that a path leads to; None = it has lines."""
  if not split_files.is_there(path):
    return None
  file = split_files.of(path)[0]
  with file.open('rb') as opened:
    start = opened.read(4)
  ending = formats.by_ending(file.name)
  return _MAGIC.get(start) or (ending if ending in arrow.FORMATS else None)


def _tables(task: Task, path: str, style: str) -> Iterator[dict]:
  """Rows of tables, one file after another.

  Raises:
    ValueError: standard input; other errors as in `arrow.read`.
  """
  if path == '-':
    raise ValueError(
      f'--input=- with {style}: such tables are read from files; give a path'
    )
  for file in split_files.of(pathlib.Path(path), formats.ENDINGS):
    log = Log(file, droppable=False)
    found = arrow.read(
      file, log, style, task.columns, kept=(*task.columns, *_IDS)
    )
    for _, record in formats.reached(found, task.columns):
      yield _kept(record, task)


def named(path: str) -> str:
  """A file as messages name it."""
  return '<stdin>' if path == '-' else path


def _until_text(lines: Iterator[str]) -> Iterator[str]:
  """Blank lines, and the first that isn't."""
  for line in lines:
    yield line
    if line:
      return


def _by_content(task: Task, name: str, first: str) -> str:
  """The format that an ending says, or else the first line shows."""
  ending = formats.by_ending(name)
  if ending in ('jsonl', 'csv'):
    return ending
  start = first.lstrip()
  if ending == 'json' or start.startswith('[{') or start.rstrip() == '[':
    return 'json'
  record = _object(start)
  if record is not None:
    return 'json' if task.kind == 'span' and 'data' in record else 'jsonl'
  if ending == 'tsv' and name.lower().endswith(('.tsv', '.tab')):
    return 'tsv'
  if ',' in first and _has(task, next(csv.reader([first]), [])):
    return 'csv'
  if not _has(task, [c.strip('"') for c in first.split('\t')]):
    return 'text'
  if first in task.columns:
    logging.warning(
      '%s: the first line, %r, is the name of the column, so it is taken as '
      'the header; --input_format=text takes it as a text',
      name,
      first,
    )
  return 'tsv'


def _object(text: str) -> dict | None:
  """The JSON object that a line is, None where it is none."""
  try:
    record = json.loads(text) if text.startswith('{') else None
  except (ValueError, RecursionError):
    return None
  return record if isinstance(record, dict) else None


def _has(task: Task, names: Collection[str] | None) -> bool:
  """Whether the task's columns are among names: of a header, or keys."""
  return names is not None and set(task.columns) <= set(names)


def _objects(task: Task, lines: Iterator[str], log: Log) -> Iterator[dict]:
  blank: list[int] = []
  for number, text in enumerate(lines, 1):
    if text:
      record = json_files.parse(text, number, log, task.columns)
      yield _kept(record or {}, task)
    else:
      blank.append(number)
  if blank:
    logging.warning(
      '%s: %d blank lines between JSON lines are passed over, line %d first; '
      'they get no prediction',
      log.path,
      len(blank),
      blank[0],
    )


def _whole(task: Task, lines: Iterator[str], log: Log) -> Iterator[dict]:
  """An array, a SQuAD file, or objects a line under the name of .json."""
  head = list(_until_text(lines))
  first = head[-1]
  if first.lstrip().startswith('['):
    text = '\n'.join([*head, *lines])
    for _, record in json_files.elements(text, log.path, log, task.columns):
      yield _kept(record, task)
  elif task.kind == 'span' and not _has(task, _object(first.lstrip())):
    text = '\n'.join([*head, *lines])
    names = dict(zip(task.columns, ('question', 'context')))
    for _, record in squad.questions(text, log.path, log):
      yield {c: record[n] for c, n in names.items()} | {'idx': record['id']}
  else:
    yield from _objects(task, itertools.chain(head, lines), log)


def _commas(
  task: Task, lines: Iterator[str], log: Log, delimiter: str = ','
) -> Iterator[dict]:
  limit = csv.field_size_limit(sys.maxsize)
  try:
    ended = (f'{line}\n' for line in lines)
    table = csv.reader(ended, delimiter=delimiter, strict=True)
    pairs = ((table.line_num, fields) for fields in table)
    yield from _table(task, pairs, log)
  except csv.Error as error:
    log.bad(table.line_num, f'{error}; see RFC 4180')
  finally:
    csv.field_size_limit(limit)


def _tabs(task: Task, lines: Iterator[str], log: Log) -> Iterator[dict]:
  first = next(lines)
  lines = itertools.chain([first], lines)
  if all(map(in_quotes, first.split('\t'))):
    return _commas(task, lines, log, '\t')
  if _has(task, first.split('\t')):
    # Under the header of one column a tab is part of the text.
    cut = (lambda line: line.split('\t')) if '\t' in first else (lambda t: [t])
    return _table(task, enumerate(map(cut, lines), 1), log)
  found = first.split('\t')
  if len(found) > 1 and len(found) != len(task.columns):
    raise ValueError(
      f'{log.path}:1: {len(found)} columns, {found[0][:40]!r} first; expected '
      f'a header with {", ".join(map(repr, task.columns))}, or --format=text '
      'where a tab is part of the text'
    )
  return _texts(task, lines, log)


def _table(
  task: Task, table: Iterator[tuple[int, list[str]]], log: Log
) -> Iterator[dict]:
  """Rows under a header; those of a blank line have blank texts."""
  _, header = next(table)
  if not _has(task, header):
    raise ValueError(
      f'{log.path}:1: columns {", ".join(map(repr, header[:12]))} were found; '
      f'expected a header with {", ".join(map(repr, task.columns))}'
    )
  twice = [c for c in (*task.columns, *_IDS) if header.count(c) > 1]
  if twice:
    raise ValueError(
      f'{log.path}:1: column {twice[0]!r} is there {header.count(twice[0])} '
      'times; expected once'
    )
  for number, fields in table:
    if not any(fields):
      fields = [''] * len(header)
    if len(fields) != len(header):
      log.bad(number, f'{len(fields)} columns, expected {len(header)}')
    record: dict[str, Any] = dict(zip(header, fields))
    for name in set(_IDS) & set(record):
      text = record[name].strip()
      record[name] = rows.row_id(text) if text else None
    yield _kept(record, task)


def _texts(task: Task, lines: Iterator[str], log: Log) -> Iterator[dict]:
  columns = task.columns
  for number, line in enumerate(lines, 1):
    # In a task of one text a tab is part of the text.
    fields = line.split('\t') if len(columns) > 1 and line else [line]
    fields = fields if line else [''] * len(columns)
    if len(fields) != len(columns):
      log.bad(
        number,
        f'{len(fields)} fields; {task.name} expects {len(columns)} with tabs '
        f'between them: {", ".join(columns)}',
      )
    yield dict(zip(columns, fields))


def _kept(record: Mapping, task: Task) -> dict:
  """The columns and the id of a record, see `groups`."""
  kept = {column: record[column] for column in task.columns}
  there = [record[name] for name in _IDS if name in record]
  given = [x for x in there if x is not None and str(x).strip()]
  if there:
    kept['idx'] = given[0] if given else None
  if len(given) == 2 and given[0] != given[1]:
    kept['id'] = given[1]
  return kept


_READERS = {
  'jsonl': _objects,
  'json': _whole,
  'csv': _commas,
  'tsv': _tabs,
  'text': _texts,
}
