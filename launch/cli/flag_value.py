"""The text of a flag as the value of a field, by what the field may hold.

What reads a field says its type (its signature), not what a recipe has there: a
recipe's `epochs=6` may become 0.1 or None, and a field that it leaves out is
read as if it were there.
"""

import ast
from collections.abc import Sequence
from typing import Any

from glue_jax.config import ranges

_WORDS = {'true': True, 'false': False}


def read(texts: Sequence[str], hint: Any, now: Any = None) -> Any:
  """Returns what the texts of a flag mean.

  A text is a Python literal where the field takes what it says ('None', '0.1',
  '(1, 2)', "(('lora', {'rank': 4}),)"), else the string itself. What takes
  lists takes one part without brackets, too ('1', 'a').

  Args:
    texts: of all times that the flag was given; several are parts of a list,
      or the last one counts.
    hint: annotation of the field.
    now: what the field holds; whole numbers stay whole where it does.

  Raises:
    ValueError: the field takes nothing that the text can mean.
  """
  text, values = texts[-1], []
  if len(texts) > 1 and hint is not Any:
    values = [tuple(map(_literal, texts)), tuple(texts)]
  values += _meanings(text)
  values += [(value,) for value in _meanings(text)]
  for value in values:
    if _fits(value, hint):
      return _number(value, hint, now)
  raise ValueError(f'expected {ranges.describe(hint)}; found {text!r}')


def is_switch(hint: Any) -> bool:
  """Whether a field is True or False only: `--config.a`, `--noconfig.a`."""
  return set(ranges.alternatives(hint)) <= {bool, type(None)}


def _meanings(text: str) -> list[Any]:
  """What a text can mean, the likeliest first."""
  word = _WORDS.get(text.lower())
  return [_literal(text), text] if word is None else [word, text]


def _literal(text: str) -> Any:
  """The Python literal that a text is; the text where it is none."""
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
    return text


def _fits(value: Any, hint: Any) -> bool:
  try:
    ranges.check(value, hint, '')
  except ValueError:
    return False
  return True


def _number(value: Any, hint: Any, now: Any) -> Any:
  """A whole number as a float, where the field is one."""
  kinds = ranges.alternatives(hint)
  whole = isinstance(value, int) and not isinstance(value, bool)
  if whole and float in kinds and int not in kinds and type(now) is not int:
    return float(value)
  return value
