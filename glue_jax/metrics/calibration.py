"""How far probabilities are from frequencies, and one number that mends it.

Guo et al. 2017, arXiv 1706.04599: temperature scaling (section 4.2) and the
expected calibration error (eq. 3; Naeini et al. 2015). Everything is float64.
"""

import math
from typing import NamedTuple

import numpy as np

BINS = 15
# Of rows that a model separates without an error the best temperature is 0;
# beyond these bounds nothing is learnt but that.
LOWEST, HIGHEST = 0.05, 20.0


class Bins(NamedTuple):
  """Predictions by their confidence, in equal-width bins (i/n, (i+1)/n].

  Attributes:
    count: (n,) predictions in each; 0 itself is in the first.
    confidence: (n,) mean confidence, 0 where there is none.
    accuracy: (n,) share that is right, 0 where there is none.
  """

  count: np.ndarray
  confidence: np.ndarray
  accuracy: np.ndarray

  @property
  def error(self) -> float:
    """The ECE: the mean of |accuracy - confidence|, weighted by count."""
    gaps = np.abs(self.accuracy - self.confidence)
    return float((self.count * gaps).sum() / self.count.sum())


def bins(confidence: np.ndarray, right: np.ndarray, number: int = BINS) -> Bins:
  """Sorts predictions into bins.

  Args:
    confidence: (m,) probabilities in 0..1.
    right: (m,) 0 or 1: was it so?
    number: of bins.

  Raises:
    ValueError: no predictions.
  """
  confidence = np.asarray(confidence, np.float64)
  if not confidence.size:
    raise ValueError('no predictions to calibrate')
  place = np.clip(np.ceil(confidence * number).astype(int) - 1, 0, number - 1)
  count = np.bincount(place, minlength=number)
  filled = np.maximum(count, 1)
  sums = (
    np.bincount(place, np.asarray(values, np.float64), number)
    for values in (confidence, right)
  )
  return Bins(count, *(total / filled for total in sums))


def class_bins(logits: np.ndarray, labels: np.ndarray) -> Bins:
  """Bins of the likeliest class's probability: is it the right one?

  Args:
    logits: (m, C).
    labels: (m,) class ids.
  """
  shares = np.exp(_log_softmax(logits))
  return bins(shares.max(-1), shares.argmax(-1) == labels)


def set_bins(logits: np.ndarray, labels: np.ndarray) -> Bins:
  """Bins of every label's probability, (row, label) pairs pooled: is it there?

  Args:
    logits: (m, C).
    labels: (m, C) 0 or 1.
  """
  shares = np.exp(-np.logaddexp(0, -np.asarray(logits, np.float64)))
  return bins(shares.ravel(), np.asarray(labels).ravel())


def class_loss(logits: np.ndarray, labels: np.ndarray) -> float:
  """Mean negative log-likelihood of classes; arguments as in `class_bins`."""
  logs = _log_softmax(logits)[np.arange(len(labels)), labels]
  return float(0 - logs.mean())  # never -0


def set_loss(logits: np.ndarray, labels: np.ndarray) -> float:
  """Mean over rows and labels; arguments as in `set_bins`."""
  logits = np.asarray(logits, np.float64)
  return float((np.logaddexp(0, logits) - labels * logits).mean())


def temperature(logits: np.ndarray, labels: np.ndarray) -> float:
  """The T of logits / T with the least loss, within LOWEST..HIGHEST.

  The loss is convex in 1/T, so its only minimum is found; 1 where no T is
  better (all logits of a row alike).

  Args:
    logits: (m, C).
    labels: (m,) class ids, or (m, C) 0 or 1.
  """
  from scipy import optimize

  labels = np.asarray(labels)
  loss = set_loss if labels.ndim == 2 else class_loss
  logits = np.asarray(logits, np.float64)
  ends = math.log(LOWEST), math.log(HIGHEST)
  found = optimize.minimize_scalar(
    lambda log: loss(logits / math.exp(log), labels),
    bounds=ends,
    method='bounded',
    options={'xatol': 1e-6},
  )
  # The search goes near an end but never to it.
  best = min(
    (found.x, *ends), key=lambda log: loss(logits / math.exp(log), labels)
  )
  value = math.exp(best)
  if loss(logits, labels) - loss(logits / value, labels) < 1e-12:
    return 1.0
  return value


def _log_softmax(logits: np.ndarray) -> np.ndarray:
  logits = np.asarray(logits, np.float64)
  return logits - np.logaddexp.reduce(logits, -1, keepdims=True)
