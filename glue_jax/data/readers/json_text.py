"""JSON in which a key that an object has twice is a fault.

Python's reader keeps the last of them without a word; what stood there first
would be lost.
"""

import json
import re
from typing import Any

_PARTS = re.compile(r'"(?:[^"\\]|\\.)*"|[][{}:]', re.DOTALL)


class Twice(json.JSONDecodeError):
  """An object has a key twice; `msg`, `pos` and `lineno` are of the second."""


class _Again(Exception):
  pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  record = dict(pairs)
  if len(record) < len(pairs):
    raise _Again
  return record


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def loads(text: str | bytes) -> Any:
  """As `json.loads`.

  Raises:
    JSONDecodeError: not JSON; `Twice` where an object has a key twice.
  """
  if isinstance(text, bytes):
    text = text.decode(json.detect_encoding(text), 'surrogatepass')
  try:
    return json.loads(text, object_pairs_hook=_object)
  except _Again:
    raise _twice(text, 0) from None


def raw_decode(text: str, at: int) -> tuple[Any, int]:
  """As `json.JSONDecoder().raw_decode`; see `loads`."""
  try:
    return _DECODER.raw_decode(text, at)
  except _Again:
    raise _twice(text, at) from None


def _twice(text: str, at: int) -> Twice:
  """The error of the first key from `at` that its object has already."""
  objects: list[set[str]] = []
  string = None
  for part in _PARTS.finditer(text, at):
    mark = part.group()
    if mark in '{[':
      objects.append(set())
    elif mark in '}]':
      objects.pop()
    elif mark != ':':
      string = part
    else:
      key = json.loads(string.group(), strict=False)
      if key in objects[-1]:
        message = f'key {key!r:.60} is given twice in one object'
        return Twice(message, text, string.start())
      objects[-1].add(key)
  raise AssertionError(text[at : at + 80])
