"""What is wrong with a value that should be text.

JSON and YAML give numbers, nulls and lists where a file means text, and half a
surrogate pair, which no encoder takes. Each reader asks here, so that a fault
is named where it is read.
"""

import math
import numbers
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

_JSON_NAMES = {
  bool: 'a boolean',
  int: 'a number',
  float: 'a number',
  list: 'a list',
  dict: 'an object',
  str: 'text',
}
_NUMBER = re.compile(r'[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?')
# Categories that nothing is seen of: blanks, control and format characters.
_UNSEEN = ('Zs', 'Zl', 'Zp', 'Cc', 'Cf')


def shown(value: Any) -> str:
  """A value as a message names it: 'a number (5)', 'null'."""
  if value is None:
    return 'null'
  kind = _JSON_NAMES.get(type(value), type(value).__name__)
  return f'{kind} ({value!r:.60})'


def text_fault(value: Any, blank: bool = False) -> str | None:
  """What is wrong with a text, None where nothing is.

  Args:
    value: what stands where a text is expected.
    blank: it may be blank.
  """
  if not isinstance(value, str):
    return f'is {shown(value)}; expected text'
  if not blank and not value.strip():
    return 'is empty; expected text'
  try:
    value.encode()
  except UnicodeEncodeError as error:
    return (
      f'has half a surrogate pair at character {error.start} '
      f'({value[error.start]!a}); write the whole character'
    )
  return None


def words_fault(value: Any, blank: bool = False) -> str | None:
  """What is wrong with a list of words, None where nothing is.

  Args:
    value: what stands where a list of texts is expected.
    blank: it may have no words.
  """
  if not isinstance(value, list):
    return f'is {shown(value)}; expected a list of words, or text'
  if not value and not blank:
    return 'is empty; expected words'
  for number, word in enumerate(value, 1):
    fault = text_fault(word, blank=True) or ('is empty' if not word else None)
    if fault:
      return f'has word {number}, which {fault}'
  return None


def number(value: Any) -> float:
  """A number, or the number that a text writes down.

  Only ASCII digits with a decimal point and an exponent are one: what Python
  takes besides (`1_000`, digits of other scripts, `nan`) means something else,
  or nothing, in data.

  Args:
    value: what stands where a number is expected.

  Raises:
    ValueError: it isn't one, or isn't finite.
  """
  found, hint = math.nan, ''
  if isinstance(value, str):
    text = value.strip()
    if _NUMBER.fullmatch(text):
      found = float(text)
    elif _NUMBER.fullmatch(text.replace(',', '.')):
      hint = '; write a decimal point'
  elif isinstance(value, numbers.Real) and not isinstance(value, bool):
    found = float(value)
  if not math.isfinite(found):
    raise ValueError(f'{value!r}; expected a finite number{hint}')
  return found


def words(text: str) -> list[str]:
  """A text cut at ASCII blanks; a no-break space is part of a word."""
  return [word for word in re.split('[ \t\n\r\f\v]+', text) if word]


def seen(text: str) -> tuple[int, int]:
  """First and last + 1 character of a text that can be seen; (0, 0) if none.

  Blanks of any script, zero-width and control characters at its edges are
  left out.
  """
  places = [
    place
    for place, character in enumerate(text)
    if unicodedata.category(character) not in _UNSEEN
  ]
  return (places[0], places[-1] + 1) if places else (0, 0)


def reach(record: Mapping[str, Any], name: str) -> Any:
  """The value of a column, or at a path in a nested one.

  Args:
    record: of a row.
    name: a key, or keys and places in lists with dots: `answers.text.0`.

  Returns:
    The value; None where a part of the path is null or a list is shorter.

  Raises:
    KeyError: no such column.
  """
  if name in record or '.' not in name:
    return record[name]
  value: Any = record
  for part in name.split('.'):
    if isinstance(value, Mapping):
      value = value[part]
    elif isinstance(value, list) and part.isdigit():
      value = value[int(part)] if int(part) < len(value) else None
    elif value is not None:
      raise KeyError(name)
  return value


def has(record: Mapping[str, Any], name: str) -> bool:
  """Whether a record has a column, or a path in a nested one."""
  try:
    reach(record, name)
  except KeyError:
    return False
  return True
