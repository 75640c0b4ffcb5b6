"""Token arrays, as tokenizers give them and features are made of them.

Flat, not padded: rows of one array lie one after another, and `bounds` says
where each begins.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass
class Encoded:
  """Token arrays of n texts or pairs; sequence i is bounds[i]:bounds[i + 1].

  Attributes:
    ids, type_ids: (T,) int32.
    bounds: (n + 1,) int64.
    truncated: how many sequences lost tokens.
    offsets: (T, 2) characters in the token's own text, (0, 0) for special
      tokens; None unless asked for (also the next two).
    word_ids: (T,) word in the token's own text, -1 for special tokens.
    sequence_ids: (T,) 0 first text, 1 second, -1 special.
    source: (n,) which input a sequence is a window of.
  """

  ids: np.ndarray
  type_ids: np.ndarray
  bounds: np.ndarray
  truncated: int
  offsets: np.ndarray | None = None
  word_ids: np.ndarray | None = None
  sequence_ids: np.ndarray | None = None
  source: np.ndarray | None = None

  @property
  def lengths(self) -> np.ndarray:
    return np.diff(self.bounds)
