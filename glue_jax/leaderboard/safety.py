"""Limits and rules for text that a stranger wrote: names, JSON, numbers.

Nothing of a contribution is imported, unpickled, evaluated or run. What it may
hold is bounded before it is parsed; archive.py does the same for folders and
archives.
"""

import collections
import dataclasses
import json
import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Limits:
  """What a contribution may cost the machine that checks it.

  Attributes:
    entries: members of an archive, or of one folder of a contribution; a
      folder with all inside holds at most the square of it.
    total_bytes, file_bytes: read from all files, from one.
    ratio: bytes read from an archive's member over its compressed size.
    json_bytes, json_depth: of a JSON document.
    line_bytes: of a line of predictions.
    rows_per_gold: rows of predictions over rows of gold.
    shown: problems of one kind that are listed.
  """

  entries: int = 64
  total_bytes: int = 200_000_000
  file_bytes: int = 64_000_000
  ratio: int = 100
  json_bytes: int = 1_000_000
  json_depth: int = 8
  line_bytes: int = 1_000_000
  rows_per_gold: int = 2
  shown: int = 10


DEFAULT = Limits()


class Refused(ValueError):
  """A contribution breaks a rule; the text names file and line."""


_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9._-]{0,63}')
# Possessive, and an open string reaches to the end: linear on any input.
_STRINGS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_BRACKETS = re.compile(r'[\[\]{}]')
_URL = re.compile(r'https?://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?(/[!-~]*)?')
# Explicit directions, marks and isolates; format characters besides them
# (zero-width joiners) change how a name looks as well.
_HIDDEN = ('Cc', 'Cf', 'Cs', 'Co', 'Cn', 'Zl', 'Zp')


def check_name(name: str, what: str = 'name') -> str:
  """Returns a name that is safe as a folder, an address and a text.

  Raises:
    Refused: other than 1 to 64 letters, digits, '.', '_' and '-', the first
      a letter or digit.
  """
  if not isinstance(name, str) or not _NAME.fullmatch(name):
    raise Refused(
      f'{what} {shown(name)} refused; expected 1 to 64 of A-Z a-z 0-9 . _ - '
      'beginning with a letter or digit'
    )
  return name


def check_text(
  value: object, what: str, longest: int, newlines: bool = False
) -> str:
  """Returns a text in NFC without control or direction characters.

  Raises:
    Refused: no text, too long, or characters that hide or reorder others.
  """
  if not isinstance(value, str):
    raise Refused(f'{what} is {shown(value)}; expected a text')
  if len(value) > longest:
    raise Refused(
      f'{what} has {len(value)} characters; at most {longest} are allowed'
    )
  for character in value:
    if newlines and character == '\n':
      continue
    if unicodedata.category(character) in _HIDDEN:
      raise Refused(
        f'{what} holds U+{ord(character):04X} '
        f'({unicodedata.name(character, "a control character")}); control, '
        'direction and invisible characters are refused'
      )
  if unicodedata.normalize('NFC', value) != value:
    raise Refused(f'{what} is not in Unicode normal form C')
  return value


def check_url(value: object, what: str) -> str:
  """Returns an http or https address, or ''.

  Raises:
    Refused: anything else.
  """
  text = check_text(value, what, 500)
  if text and not _URL.fullmatch(text):
    raise Refused(
      f"{what} is {shown(text)}; expected http://... or https://... or ''"
    )
  return text


def shown(value: object, longest: int = 60) -> str:
  """A stranger's value in a message: ASCII, quoted, cut."""
  text = ascii(value if not isinstance(value, str) else value[: 2 * longest])
  return text if len(text) <= longest else f'{text[:longest]}...'


def printable(text: str) -> str:
  """A text on one line without control, direction or invisible characters.

  They are written as Python escapes, so that a message which quotes a file's
  name can neither move a terminal's cursor nor fail to be encoded.
  """
  if text.isascii() and text.isprintable():
    return text
  return ''.join(
    ascii(c)[1:-1] if unicodedata.category(c) in _HIDDEN else c for c in text
  )


def parse_document(data: bytes, where: str, limits: Limits) -> Any:
  """Parses a JSON document under the limits.

  Args:
    data: the file's bytes.
    where: file name for errors.
    limits: see Limits.

  Raises:
    Refused: size, encoding, depth, syntax, double keys, NaN, huge numbers.
  """
  if len(data) > limits.json_bytes:
    raise Refused(
      f'{where}:1: {len(data)} bytes; JSON may have {limits.json_bytes}'
    )
  return parse_text(decode(data, where, 1), where, 1, limits)


def parse_text(
  text: str, where: str, line: int, limits: Limits = DEFAULT
) -> Any:
  """Parses bounded JSON text; arguments and errors as `parse_document`."""
  # Before parsing: a text of nothing but '[' makes parsers recurse.
  depth = 0
  for match in _BRACKETS.finditer(_STRINGS.sub('""', text)):
    depth += 1 if match.group() in '[{' else -1
    if depth > limits.json_depth:
      raise Refused(f'{where}:{line}: nested deeper than {limits.json_depth}')
  try:
    return _DECODER.decode(text)
  except json.JSONDecodeError as error:
    number = line + error.lineno - 1
    raise Refused(f'{where}:{number}: not JSON: {error.msg}') from None
  except ValueError as error:
    raise Refused(f'{where}:{line}: {error}') from None


def decode(data: bytes, where: str, line: int) -> str:
  """Decodes UTF-8.

  Raises:
    Refused: other bytes; the line is counted from `line`.
  """
  try:
    return data.decode('utf-8')
  except UnicodeDecodeError as error:
    number = line + data.count(b'\n', 0, error.start)
    raise Refused(
      f'{where}:{number}: byte 0x{data[error.start]:02X} is not UTF-8'
    ) from None


def split_lines(
  data: bytes, where: str, limits: Limits, most: int
) -> list[bytes]:
  """Lines without their ends.

  Args:
    data: the file's bytes.
    where: file name for errors.
    limits: see Limits.
    most: lines allowed.

  Raises:
    Refused: too many lines, or one that is too long.
  """
  count = data.count(b'\n') + (not data.endswith(b'\n') and bool(data))
  if count > most:
    raise Refused(f'{where}:{most + 1}: {count} lines; at most {most} allowed')
  lines = data.split(b'\n')
  if not lines[-1]:
    lines.pop()
  for number, line in enumerate(lines, 1):
    if len(line) > limits.line_bytes:
      raise Refused(
        f'{where}:{number}: line of {len(line)} bytes; at most '
        f'{limits.line_bytes} allowed'
      )
  return lines


def spreadsheet_cell(value: object) -> object:
  """A CSV cell that no spreadsheet takes for a formula; numbers stay."""
  if isinstance(value, str) and value[:1] in ('=', '+', '-', '@', '\t', '\r'):
    return "'" + value
  return value


def line_of(data: bytes, key: str) -> int:
  """Line where a JSON key stands first; 1 if it is written in another way."""
  at = data.find(json.dumps(key).encode())
  return data.count(b'\n', 0, max(at, 0)) + 1


def listing(values: Sequence[object], limits: Limits) -> str:
  """The first few of many values, and how many there are."""
  first = ', '.join(str(value) for value in values[: limits.shown])
  more = len(values) - limits.shown
  return f'{first} and {more} more' if more > 0 else first


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  fields = dict(pairs)
  if len(fields) < len(pairs):
    counts = collections.Counter(key for key, _ in pairs)
    twice = next(key for key, count in counts.items() if count > 1)
    raise ValueError(f'key {shown(twice)} occurs twice in one object')
  return fields


def _integer(text: str) -> int:
  digits = len(text.lstrip('-'))
  if digits > 18:
    raise ValueError(f'integer of {digits} digits; at most 18 are allowed')
  return int(text)


def _float(text: str) -> float:
  number = float(text) if len(text) <= 64 else math.inf
  if not math.isfinite(number):
    raise ValueError(f'{shown(text, 30)} is no finite number of 64 characters')
  return number


def _constant(text: str) -> float:
  raise ValueError(f'{text} is no JSON number; expected a finite one')


_DECODER = json.JSONDecoder(
  object_pairs_hook=_pairs,
  parse_int=_integer,
  parse_float=_float,
  parse_constant=_constant,
)
