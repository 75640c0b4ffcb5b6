"""Texts as Python code has them, as rows of a task.

A text is a `str`; of a task with several columns it is a tuple, a list or a
row of an array with one text a column, or a dict with the columns' names. To
tag words it is a list of words, or a text that blanks cut into words.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from glue_jax.data.readers import values

_PARTS = (list, tuple, np.ndarray)  # of a text with several columns


def rows(
  texts: Any, columns: Sequence[str], words: bool = False
) -> list[dict[str, Any]]:
  """Rows with the columns of a task.

  Args:
    texts: a list, tuple, generator, array, or Series of texts, or a DataFrame
      that has the columns. One str or one dict is a list of one.
    columns: names, in the order in which tuples have them.
    words: a text is cut into words, for tagging.

  Raises:
    ValueError: a text is None or another thing than text, or has other columns;
      the message has its number, from 0.
    TypeError: `texts` isn't several of anything.
  """
  return [
    _row(text, tuple(columns), words, number)
    for number, text in enumerate(several(texts))
  ]


def several(texts: Any) -> list[Any]:
  """The texts one by one, whatever holds them.

  Raises:
    TypeError: nothing holds them.
  """
  if hasattr(texts, 'to_dict') and hasattr(texts, 'columns'):
    return texts.to_dict('records')  # a DataFrame; its iterator gives names
  if isinstance(texts, np.ndarray):
    texts = texts.reshape(1) if texts.ndim == 0 else texts
    return texts.tolist()
  if isinstance(texts, str | Mapping):
    return [texts]
  if isinstance(texts, Iterable) and not isinstance(texts, bytes):
    return list(texts)
  raise TypeError(
    f'texts={values.shown(texts)}: expected a list of texts; see '
    'glue_jax.inference.given_texts'
  )


def width(text: Any) -> int:
  """How many columns a text has."""
  return (
    1 if isinstance(text, str) or not hasattr(text, '__len__') else len(text)
  )


def _row(text, columns, words, number) -> dict[str, Any]:
  if isinstance(text, Mapping):
    missing = [column for column in columns if column not in text]
    if missing:
      raise ValueError(
        f'text {number} has the keys {sorted(map(str, text))}; expected '
        f'{", ".join(columns)}'
      )
    row = {column: text[column] for column in columns}
  elif len(columns) == 1 and (words or not isinstance(text, _PARTS)):
    row = {columns[0]: text}
  elif isinstance(text, _PARTS):
    if len(text) != len(columns):
      raise ValueError(
        f'text {number} has {len(text)} parts; expected {len(columns)}: '
        f'{", ".join(columns)}'
      )
    row = dict(zip(columns, text))
  else:
    raise ValueError(
      f'text {number} is {values.shown(text)}; expected {len(columns)} texts: '
      f'{", ".join(columns)}'
    )
  return {c: _checked(value, words, number) for c, value in row.items()}


def _checked(value, words, number) -> Any:
  if isinstance(value, tuple | np.ndarray) and words:
    value = list(value)
  if words and isinstance(value, str):
    value = value.split()
  fault = (values.words_fault if words else values.text_fault)(value, True)
  if fault:
    raise ValueError(f'text {number} {fault}')
  return value
