"""JSON objects to records: one a line, or an array of them."""

import json
import pathlib
from collections.abc import Iterator

from glue_jax.data.readers import json_text, values
from glue_jax.data.readers.files import Log, Record, lines, read_bytes

_BLANK = ' \t\r\n'
_ARRAY = '; a file that is one array is of the format json (dataset: json:FILE)'


def read_jsonl(
  path: pathlib.Path, log: Log, needed: tuple[str, ...]
) -> Iterator[tuple[int, Record]]:
  """One JSON object a line.

  Args:
    path: the file.
    log: where a line is reported that is no object or lacks a key.
    needed: keys of each object.

  Raises:
    ValueError: empty.
  """
  for number, text in lines(path, log):
    record = parse(text, number, log, needed)
    if record is not None:
      yield number, record


def parse(
  text: str, number: int, log: Log, needed: tuple[str, ...]
) -> Record | None:
  """The object of one line; None, reported to `log`, if it isn't one."""
  try:
    record = json_text.loads(text)
  except json_text.Twice as error:
    log.bad(number, error.msg)
    return None
  except json.JSONDecodeError as error:
    hint = _ARRAY if text[:1] == '[' else ''
    log.bad(number, f'not JSON at character {error.pos}: {error.msg}{hint}')
    return None
  except RecursionError:
    log.bad(number, 'not JSON that can be read: nested too deeply')
    return None
  if isinstance(record, list):
    log.bad(number, f'{values.shown(record)} found, expected an object{_ARRAY}')
    return None
  return checked(record, number, log, needed)


def checked(
  record: object, number: int, log: Log, needed: tuple[str, ...]
) -> Record | None:
  """The record if it is an object with the keys; else None, reported."""
  if not isinstance(record, dict):
    log.bad(number, f'{values.shown(record)} found, expected an object')
    return None
  missing = [name for name in needed if not values.has(record, name)]
  if missing:
    log.bad(number, f'keys {sorted(record)} lack {", ".join(missing)}')
    return None
  return record


def is_array(path: pathlib.Path) -> bool:
  """Whether a file holds a JSON array, not objects line by line."""
  return read_bytes(path).lstrip()[:1] == b'['


def read_array(
  path: pathlib.Path, log: Log, needed: tuple[str, ...]
) -> Iterator[tuple[int, Record]]:
  """Objects of a JSON array; the number is the line where each begins.

  Args:
    path: the file.
    log: where an element is reported that is no object or lacks a key.
    needed: keys of each object.

  Raises:
    ValueError: not a JSON array, with the line; no element.
  """
  try:
    text = read_bytes(path).decode()
  except UnicodeDecodeError as error:
    raise ValueError(
      f'{path}: invalid UTF-8 at byte {error.start}; convert it to UTF-8'
    ) from None
  yield from elements(text, path, log, needed)


def elements(
  text: str, path: pathlib.Path, log: Log, needed: tuple[str, ...]
) -> Iterator[tuple[int, Record]]:
  """As `read_array`, of the file's text."""
  line, at, empty = 1, 0, True

  def skip(at: int, line: int) -> tuple[int, int]:
    while at < len(text) and text[at] in _BLANK:
      line += text[at] == '\n'
      at += 1
    return at, line

  def expect(marks: str, at: int, line: int) -> str:
    if at < len(text) and text[at] in marks:
      return text[at]
    found = repr(text[at]) if at < len(text) else 'the end of the file'
    raise ValueError(
      f'{path}:{line}: not a JSON array: {found} found, expected '
      f'{" or ".join(marks)}'
    )

  at, line = skip(at, line)
  expect('[', at, line)
  at, line = skip(at + 1, line)
  while at < len(text) and not (empty and text[at] == ']'):
    try:
      record, end = json_text.raw_decode(text, at)
      good = checked(record, line, log, needed)
    except json_text.Twice as error:
      log.bad(error.lineno, error.msg)
      (_, end), good = json.JSONDecoder().raw_decode(text, at), None
    except (json.JSONDecodeError, RecursionError) as error:
      raise ValueError(f'{path}:{line}: not JSON: {error}') from None
    empty = False
    if good is not None:
      yield line, good
    at, line = skip(end, line + text.count('\n', at, end))
    if expect(',]', at, line) == ']':
      break
    at, line = skip(at + 1, line)
  else:
    expect(']', at, line)
  if empty:
    raise ValueError(f'{path}:1: the array is empty; expected objects')
