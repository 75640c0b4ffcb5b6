"""How often each label is among the training examples."""

from typing import NamedTuple

import numpy as np

from glue_jax.data.examples import Examples


class LabelCounts(NamedTuple):
  """Counts of labels.

  Attributes:
    counts: (C,) int64: how often each label is given.
    total: what could have had one: the examples; of tokens those with a label.
  """

  counts: np.ndarray
  total: int


def count(examples: Examples, classes: int) -> LabelCounts:
  """Counts the labels of examples.

  Args:
    examples: with class ids, sets of labels (n, C), or labels of tokens.
    classes: C.
  """
  labels = examples.labels
  if examples.token_labels is not None:
    labels = examples.token_labels[examples.token_labels >= 0]
  if labels.ndim == 2:
    return LabelCounts(labels.sum(0, dtype=np.int64), len(labels))
  return LabelCounts(np.bincount(labels, minlength=classes), len(labels))
