"""Files of several kinds in one slug, told apart by their arrays."""

from collections.abc import Callable, Mapping

import numpy as np

Arrays = dict[str, np.ndarray]


def by_kind(
  arrays: Arrays,
  kinds: Mapping[str, Callable[[Arrays], list[tuple]]],
  is_result: Callable[[str], object],
) -> list[tuple]:
  """Rows of the file's kind, which must compare every result.

  Args:
    arrays: of the file.
    kinds: {array that only this kind of file has: function that compares}.
    is_result: whether an array of this name holds a result.

  Raises:
    ValueError: an unknown kind, or a result that no row compares.
  """
  for key, rows in kinds.items():
    if key in arrays:
      found = rows(arrays)
      break
  else:
    raise ValueError(f'no known kind of file: arrays {sorted(arrays)}')
  results = set(filter(is_result, arrays))
  left = sorted(results - {row[0] for row in found})
  if left:
    raise ValueError(f'nothing compares {left}')
  return found
