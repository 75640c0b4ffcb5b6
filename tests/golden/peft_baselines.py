"""Golden vectors of the baseline parameter-efficient methods.

Three kinds of files: adapters around one sublayer, tuned BERT classifiers, and
4-bit weights.
"""

import pathlib

import numpy as np

from tests.golden import _adapter_blocks, _tiny_bert

Rows = list[tuple]


def compare(arrays: dict[str, np.ndarray], folder: pathlib.Path) -> Rows:
  """Rows (name, ours, theirs, atol, rtol) for one file's arrays."""
  del folder  # all is in the arrays
  for key, rows in (
    ('sublayer_out', _adapter_blocks.compare_blocks),
    ('base/logits', _tiny_bert.compare_tuned),
  ):
    if key in arrays:
      return rows(arrays)
  raise ValueError(f'no known kind of file: arrays {sorted(arrays)}')
