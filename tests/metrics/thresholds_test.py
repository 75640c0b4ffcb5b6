"""Thresholds: the best of all cuts, as the scores themselves judge them."""

import numpy as np
import pytest

from glue_jax.metrics import scores, thresholds


def rows(seed, n=40, ties=True):
  rng = np.random.default_rng(seed)
  p = rng.random(n)
  if ties:
    p = 0.9 * np.round(p, 1) + 0.05
  labels = (rng.random(n) < 0.3 + 0.4 * p).astype(int)
  labels[:2] = 0, 1
  return p, labels


def by_hand(p, labels, metric):
  """The best score over every distinct cut, by the metric itself."""
  return max(
    scores.compute([metric], (p >= t).astype(int), labels)[metric]
    for t in [*np.unique(p), 2.0]
  )


@pytest.mark.parametrize(
  'metric', [m for m in thresholds.BINARY if m != 'micro_f1']
)
@pytest.mark.parametrize('seed', range(4))
def test_no_other_cut_is_better(metric, seed):
  p, labels = rows(seed, ties=seed % 2 == 0)
  found = thresholds.binary(p, labels, metric)
  value = scores.compute([metric], (p >= found).astype(int), labels)[metric]
  assert value == pytest.approx(by_hand(p, labels, metric), abs=1e-12)
  assert found not in p  # between rows, never at one


def test_a_threshold_lies_in_the_middle():
  p = np.array([0.1, 0.2, 0.6, 0.9])
  assert thresholds.binary(p, [0, 0, 1, 1], 'f1') == pytest.approx(0.4)
  # Two cuts have the accuracy 3/4, then three 3/5: the middle one is taken.
  assert thresholds.binary(p, [0, 1, 0, 1], 'accuracy') == pytest.approx(0.15)
  five = np.array([0.1, 0.2, 0.3, 0.4, 0.6])
  found = thresholds.binary(five, [0, 1, 0, 1, 0], 'accuracy')
  assert found == pytest.approx(0.35)
  # All, or none, are of class 1.
  assert thresholds.binary(p, [1, 1, 1, 1], 'f1') == pytest.approx(0.05)
  assert thresholds.binary(p, [0, 0, 0, 0], 'accuracy') == pytest.approx(0.95)


def test_equal_probabilities_and_the_edges_of_numbers():
  for value in (0.0, 0.3, 1.0):
    p, labels = np.full(6, value), np.array([1, 1, 1, 1, 0, 0])
    assert (p >= thresholds.binary(p, labels, 'accuracy')).all()
    assert not (p >= thresholds.binary(p, 1 - labels, 'accuracy')).any()
  a, b = 0.5, np.nextafter(0.5, 1)
  cut = thresholds.binary(np.array([a, b]), [0, 1], 'f1')
  assert a < cut <= b


def sets(seed, n=30, classes=3):
  rng = np.random.default_rng(seed)
  p = np.round(rng.random((n, classes)), 2)
  labels = (rng.random(p.shape) < p * [1.0, 0.6, 0.3]).astype(int)
  return p, labels


def test_macro_f1_has_a_threshold_a_label():
  p, labels = sets(0)
  found, skipped = thresholds.by_label(p, labels)
  assert not skipped
  value = scores.multilabel(p >= found, labels)['macro_f1']
  best = np.mean([by_hand(p[:, c], labels[:, c], 'f1') for c in range(3)])
  assert value == pytest.approx(best)
  labels[:, 1] = 0
  found, skipped = thresholds.by_label(p, labels)
  assert skipped == [1] and found[1] == 0.5


@pytest.mark.parametrize('metric', thresholds.COMMON)
@pytest.mark.parametrize('seed', range(3))
def test_one_threshold_for_all_labels(metric, seed):
  p, labels = sets(seed)
  labels[:5] = p[:5] > 0.45  # sets that some threshold gives
  found = thresholds.common(p, labels, metric)
  value = scores.multilabel(p >= found, labels)[metric]
  best = max(
    scores.multilabel(p >= t, labels)[metric] for t in [*np.unique(p), 2.0]
  )
  assert value == pytest.approx(best)
