"""Reads one file of predictions against the gold, and writes one.

A line is {"idx": id, "prediction": label, number or text}; a file that ends in
.tsv has the header `index<TAB>prediction` instead. Ids must be those of the
gold, each once: a score from a part of the examples is no score.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from glue_jax.leaderboard import safety
from glue_jax.leaderboard.registry import Entry, Gold
from glue_jax.leaderboard.safety import Limits, Refused, shown

_NUMBER = re.compile(r'[+-]?[0-9]{0,18}\.?[0-9]{0,40}([eE][+-]?[0-9]{1,3})?')
_LONGEST_ID, _LONGEST_TEXT = 200, 10_000
# A line as `text` writes it for classes and numbers, without any escape.
_PLAIN = re.compile(
  rb'^\{"idx": (-?(?:0|[1-9][0-9]{0,17})|"[!#-\[\]-~]{1,200}"), '
  rb'"prediction": ("[ !#-\[\]-~]{0,200}"|true|false|'
  rb'-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,2})?)\}$',
  re.MULTILINE,
)


def parse(
  entry: Entry, gold: Gold, data: bytes, where: str, limits: Limits
) -> tuple[Any, list[str]]:
  """Reads one file of predictions.

  Args:
    entry: the task.
    gold: its ids and labels.
    data: the file's bytes.
    where: file name; the ending says how to read it.
    limits: see safety.Limits.

  Returns:
    (values in gold's order, problems); values are class ids (n,), numbers
    (n,) or n texts, None if there are problems.
  """
  try:
    lines = safety.split_lines(
      data, where, limits, limits.rows_per_gold * len(gold.ids) + 1
    )
  except Refused as error:
    return None, [str(error)]
  plain = _plain(entry, gold, data, len(lines))
  if plain is not None:
    return plain, []
  rows = _tsv(lines, where) if where.endswith('.tsv') else _jsonl(lines, where)
  values: list[Any] = [None] * len(gold.ids)
  line_of: dict[str, int] = {}
  wrong, double, unknown = [], [], []
  for number, row in rows:
    try:
      if isinstance(row, Refused):
        raise row
      key = _key(row[0])
      if key in line_of:
        double.append((number, key))
      line_of[key] = number
      if key not in gold.ids:
        unknown.append((number, key))
      else:
        values[gold.ids[key]] = _value(entry, row[1])
    except Refused as error:
      text = str(error)
      wrong.append(text if text.startswith(where) else _at(where, number, text))
      if len(wrong) == limits.shown:
        break
  problems = wrong
  if len(wrong) < limits.shown:  # else the rest of the ids was not read
    problems += _about_ids(where, gold, line_of, double, unknown, limits)
  if problems:
    return None, problems
  if entry.kind == 'text':
    return values, []
  kind = np.int64 if entry.kind == 'classification' else np.float64
  return np.asarray(values, kind), []


def _plain(entry, gold, data: bytes, lines: int) -> np.ndarray | None:
  """Values of a file of plain lines without problems; None for any other.

  The same result as line by line, ten times as fast. Whatever is unusual is
  left to the other way, which names it.
  """
  if entry.kind == 'text':
    return None
  rows = _PLAIN.findall(data)
  if len(rows) != lines or len(rows) != len(gold.ids):
    return None
  meant: dict[bytes, Any] = {}
  values: list[Any] = [None] * len(rows)
  try:
    for key, token in rows:
      if token not in meant:
        meant[token] = _value(entry, json.loads(token))
      values[gold.ids[key.decode().strip('"')]] = meant[token]
  except (KeyError, Refused):
    return None
  if None in values:  # an id twice, so another one is missing
    return None
  kind = np.int64 if entry.kind == 'classification' else np.float64
  return np.asarray(values, kind)


def _about_ids(where, gold, line_of, double, unknown, limits) -> list[str]:
  problems = []
  for rows, what in ((double, 'occurs twice'), (unknown, 'is not in the gold')):
    for number, key in rows[: limits.shown]:
      problems.append(_at(where, number, f'id {shown(key)} {what}'))
    if len(rows) > limits.shown:
      count = len(rows) - limits.shown
      problems.append(
        _at(where, rows[limits.shown][0], f'{count} more ids: {what}')
      )
  missing = [key for key in gold.ids if key not in line_of]
  if missing:
    last = max(line_of.values(), default=0)
    text = safety.listing([shown(key) for key in missing], limits)
    problems.append(
      _at(where, last, f'{len(missing)} of {len(gold.ids)} ids missing: {text}')
    )
  return problems


def _at(where: str, number: int, text: str) -> str:
  return f'{where}:{number}: {text}'


def _jsonl(lines: list[bytes], where: str) -> Iterator[tuple[int, Any]]:
  for number, line in enumerate(lines, 1):
    try:
      row = safety.parse_text(safety.decode(line, where, number), where, number)
      if not isinstance(row, dict) or row.keys() != {'idx', 'prediction'}:
        raise Refused('expected an object with the keys idx and prediction')
      yield number, (row['idx'], row['prediction'])
    except Refused as error:
      yield number, error


def _tsv(lines: list[bytes], where: str) -> Iterator[tuple[int, Any]]:
  for number, line in enumerate(lines, 1):
    try:
      fields = safety.decode(line.rstrip(b'\r'), where, number).split('\t')
      if number == 1:
        if fields != ['index', 'prediction']:
          raise Refused('expected the header index<TAB>prediction')
        continue
      if len(fields) != 2:
        raise Refused(f'{len(fields)} fields; expected index and prediction')
      yield number, (fields[0], _Field(fields[1]))
    except Refused as error:
      yield number, error


class _Field(str):
  """A value of a TSV file, where numbers are texts."""


def _key(value: Any) -> str:
  if isinstance(value, bool) or not isinstance(value, (int, str)):
    raise Refused(f'idx is {shown(value)}; expected an integer or a text')
  key = str(value)
  if len(key) > _LONGEST_ID:
    raise Refused(f'idx of {len(key)} characters; at most {_LONGEST_ID}')
  return key


def _value(entry: Entry, value: Any) -> Any:
  if entry.kind == 'classification':
    if isinstance(value, _Field) and value not in entry.labels:
      digits = value.isascii() and value.isdecimal() and len(value) < 10
      value = int(value) if digits else str(value)
    return entry.label_id(value)
  if entry.kind == 'text':
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
      raise Refused(
        f'prediction {shown(value)}; expected a text of at most '
        f'{_LONGEST_TEXT} characters'
      )
    return value
  if isinstance(value, _Field):
    value = float(value) if len(value) < 64 and _is_number(value) else value
  if isinstance(value, bool) or not isinstance(value, (int, float)):
    raise Refused(f'prediction {shown(value)}; expected a number')
  if not math.isfinite(value):
    raise Refused(f'prediction {shown(value)} is not finite')
  return float(value)


def _is_number(text: str) -> bool:
  digits = _NUMBER.fullmatch(text)
  return bool(digits) and any(c.isdigit() for c in text.split('e')[0])


def text(rows: Iterable[tuple[Any, Any]]) -> str:
  """Lines of a predictions file.

  Args:
    rows: (idx, prediction) pairs.
  """
  return ''.join(
    json.dumps({'idx': idx, 'prediction': value}, ensure_ascii=False) + '\n'
    for idx, value in rows
  )
