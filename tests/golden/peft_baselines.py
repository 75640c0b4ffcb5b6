"""Golden vectors of the baseline parameter-efficient methods.

Three kinds of files: adapters around one sublayer, tuned BERT classifiers, and
4-bit weights.
"""

import importlib
import pathlib

import numpy as np

Rows = list[tuple]

# An array that only one kind has: the module beside this one that compares it.
KINDS = {
  'sublayer_out': ('_adapter_blocks', 'compare_blocks'),
  'base/logits': ('_tiny_bert', 'compare_tuned'),
  'nf4_table': ('_nf4', 'compare_nf4'),
}


def compare(arrays: dict[str, np.ndarray], folder: pathlib.Path) -> Rows:
  """Rows (name, ours, theirs, atol, rtol) for one file's arrays."""
  del folder  # all is in the arrays
  for key, (module, name) in KINDS.items():
    if key in arrays:
      rows = getattr(importlib.import_module(f'tests.golden.{module}'), name)
      return rows(arrays)
  raise ValueError(f'no known kind of file: arrays {sorted(arrays)}')
