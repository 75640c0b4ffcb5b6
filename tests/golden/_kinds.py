"""What the slugs' modules share: a file's arrays, and the kinds of files."""

from collections.abc import Callable, Mapping

import numpy as np


class NotBuilt(Exception):
  """A file of a system that isn't built here yet; the text names it."""


class Arrays(dict[str, np.ndarray]):
  """A file's arrays by name; None for an intermediate value that it lacks.

  The runner leaves out the rows of these (`mid_*`): which of them a file holds
  is free, while inputs and results must be there.
  """

  def __missing__(self, key: str) -> None:
    if not key.startswith('mid_'):
      raise KeyError(key)


def at(values: np.ndarray | None, valid: np.ndarray) -> np.ndarray | None:
  """Values at valid positions; None for an array that the file lacks."""
  return None if values is None else values[valid]


def by_kind(
  arrays: Arrays,
  kinds: Mapping[str, Callable[[Arrays], list[tuple]] | str],
  is_result: Callable[[str], object],
) -> list[tuple]:
  """Rows of the file's kind, which must compare every result.

  Args:
    arrays: of the file.
    kinds: {array that only this kind of file has: function that compares, or
      the name of a system that isn't built}.
    is_result: whether an array of this name holds a result.

  Raises:
    NotBuilt: a file of such a system.
    ValueError: an unknown kind, or a result that no row compares.
  """
  kind = next((key for key in kinds if key in arrays), None)
  if kind is None:
    raise ValueError(f'no known kind of file: arrays {sorted(arrays)}')
  rows = kinds[kind]
  if isinstance(rows, str):
    raise NotBuilt(rows)
  found = rows(arrays)
  results = set(filter(is_result, arrays))
  left = sorted(results - {row[0] for row in found})
  if left:
    raise ValueError(f'nothing compares {left}')
  return found
