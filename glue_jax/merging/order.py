"""The k-th smallest magnitude of more numbers than fit in memory."""

from collections.abc import Callable, Iterable

import numpy as np


def count_of(n: int, rate: float) -> int:
  """Returns int(n * rate), in double precision.

  The precision matters: int(30 * 0.9) is 27, with the float32 0.9 it is 26.
  """
  return int(n * float(rate))


def kth_magnitude(
  chunks: Callable[[], Iterable[np.ndarray]], k: int
) -> np.float32:
  """Returns the k-th smallest |x| exactly, in two passes.

  The bits of floats without a sign order like the floats. The first pass counts
  the upper 16 bits, the second the lower 16 bits of those that share the upper
  ones with the result.

  Args:
    chunks: gives float32 arrays; called twice and must give the same values.
    k: from 1.

  Raises:
    ValueError: there are fewer than k numbers, or k is below 1.
  """
  answer, before = 0, 0
  for shift in (16, 0):
    counts = np.zeros(2**16, np.int64)
    for chunk in chunks():
      bits = np.abs(chunk, dtype=np.float32).reshape(-1).view(np.uint32)
      if shift == 0:
        bits = bits[bits >> 16 == answer >> 16]
      counts += np.bincount((bits >> shift) & 0xFFFF, minlength=2**16)
    total = before + np.cumsum(counts)
    if not 1 <= k <= total[-1]:
      raise ValueError(f'k={k}: there are {total[-1]} numbers')
    place = int(np.searchsorted(total, k))
    before = int(total[place] - counts[place])
    answer |= place << shift
  return np.uint32(answer).view(np.float32)
