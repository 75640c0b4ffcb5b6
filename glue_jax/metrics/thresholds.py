"""The threshold on a probability that gives the best score, found exactly.

A score changes only where the threshold passes a probability, so the cuts
between neighbouring distinct probabilities are all there are: n rows are sorted
once, and counts to the right of each cut give its score. A threshold lies in
the middle between its neighbours; of cuts that are equally good the middle one
is taken.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Counts(NamedTuple):
  """Rows by what is predicted and what is so, (cuts,) each."""

  tp: np.ndarray
  fp: np.ndarray
  fn: np.ndarray
  tn: np.ndarray


def _f1(c: Counts) -> np.ndarray:
  return _ratio(2 * c.tp, 2 * c.tp + c.fp + c.fn)


def _other(c: Counts) -> Counts:
  """The same of the other class."""
  return Counts(c.tn, c.fn, c.fp, c.tp)


def _accuracy(c: Counts) -> np.ndarray:
  return _ratio(c.tp + c.tn, c.tp + c.fp + c.fn + c.tn)


def _matthews(c: Counts) -> np.ndarray:
  sides = (c.tp + c.fp, c.tp + c.fn, c.tn + c.fp, c.tn + c.fn)
  scale = np.sqrt(np.prod([x.astype(np.float64) for x in sides], 0))
  return _ratio(c.tp * c.tn - c.fp * c.fn, scale)


# Of two classes; names as in metrics/scores.py.
BINARY: dict[str, Callable[[Counts], np.ndarray]] = {
  'accuracy': _accuracy,
  'f1': _f1,
  'macro_f1': lambda c: (_f1(c) + _f1(_other(c))) / 2,
  'micro_f1': _accuracy,
  'matthews': _matthews,
}
# Of sets of labels: one threshold a label, or one for all.
BY_LABEL = ('macro_f1',)
COMMON = ('micro_f1', 'exact_accuracy')


def binary(probabilities: np.ndarray, labels: np.ndarray, metric: str) -> float:
  """The threshold t of `p >= t` with the best score.

  Args:
    probabilities: (n,) of class 1.
    labels: (n,) 0 or 1.
    metric: a key of BINARY.
  """
  p = np.asarray(probabilities, np.float64)
  cuts, below = _cuts(p)
  order = np.argsort(p, kind='stable')
  ones = np.concatenate([[0], np.cumsum(np.asarray(labels)[order])])
  ones = ones.astype(np.int64)
  fn, tn = ones[below], below - ones[below]
  tp, total = ones[-1] - fn, len(p)
  counts = Counts(tp, total - below - tp, fn, tn)
  return _middle(cuts, BINARY[metric](counts))


def by_label(
  probabilities: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, list[int]]:
  """One threshold a label: macro F1 is the mean of each label's own F1.

  Args:
    probabilities: (n, C).
    labels: (n, C) 0 or 1.

  Returns:
    ((C,) thresholds, labels without rows of both kinds, which keep 0.5).
  """
  thresholds, skipped = [], []
  for label, (p, gold) in enumerate(zip(probabilities.T, labels.T)):
    if gold.min() == gold.max():
      skipped.append(label)
      thresholds.append(0.5)
    else:
      thresholds.append(binary(p, gold, 'f1'))
  return np.array(thresholds), skipped


def common(probabilities: np.ndarray, labels: np.ndarray, metric: str) -> float:
  """One threshold for all labels.

  Micro F1 and the share of exact sets are no sums over labels: thresholds of
  each label could only be searched together, and would be fitted to few rows.

  Args:
    probabilities: (n, C).
    labels: (n, C) 0 or 1.
    metric: one of COMMON.
  """
  if metric == 'micro_f1':
    return binary(probabilities.ravel(), labels.ravel(), 'f1')
  gold = np.asarray(labels, bool)
  # A set is exact above its absent labels and up to its present ones.
  low = np.where(gold, -np.inf, probabilities).max(1)
  high = np.where(gold, probabilities, np.inf).min(1)
  possible = low < high
  cuts, _ = _cuts(np.asarray(probabilities, np.float64).ravel())
  opened = np.searchsorted(np.sort(low[possible]), cuts, 'left')
  closed = np.searchsorted(np.sort(high[possible]), cuts, 'left')
  return _middle(cuts, opened - closed)


def _cuts(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """(thresholds, how many values are below each), from all above to none."""
  values, counts = np.unique(p, return_counts=True)
  middles = (values[1:] + values[:-1]) / 2
  # Of two neighbouring floats the middle is one of them.
  middles = np.where(middles <= values[:-1], values[1:], middles)
  top = (values[-1] + 1) / 2 if values[-1] < 1 else np.nextafter(1.0, 2)
  cuts = np.concatenate([[values[0] / 2], middles, [top]])
  return cuts, np.concatenate([[0], np.cumsum(counts)])


def _middle(cuts: np.ndarray, scores: np.ndarray) -> float:
  """The middle one of the best cuts; the lower of two."""
  best = np.flatnonzero(scores >= scores.max() - 1e-12)
  return float(cuts[best[(len(best) - 1) // 2]])


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """a / b, 0 where b is."""
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  return np.divide(a, b, out=np.zeros_like(a), where=b != 0)
