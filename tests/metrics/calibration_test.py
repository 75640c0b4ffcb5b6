"""Calibration: the ECE and temperature of their definitions, and the ends."""

import numpy as np
import pytest

from glue_jax.metrics import calibration


def drawn(rows=4000, scale=1.0, seed=0):
  """Logits (n, 3) times a scale, and labels drawn from the unscaled ones."""
  rng = np.random.default_rng(seed)
  logits = rng.normal(size=(rows, 3)) * 1.5
  shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  labels = (shares.cumsum(-1) > rng.random((rows, 1))).argmax(-1)
  return logits * scale, labels


def test_ece_by_hand():
  # Two in the bin (12/15, 13/15], one in (14/15, 1], one at the edge 1/15.
  confidence = np.array([0.81, 0.85, 0.98, 1 / 15])
  right = np.array([1, 0, 1, 0])
  found = calibration.bins(confidence, right)
  assert found.count.tolist() == [1, *[0] * 11, 2, 0, 1]
  expected = 2 / 4 * abs(0.5 - 0.83) + 1 / 4 * 0.02 + 1 / 4 / 15
  assert found.error == pytest.approx(expected)
  with pytest.raises(ValueError, match='no predictions'):
    calibration.bins(np.zeros(0), np.zeros(0))
  assert calibration.bins(np.array([0.0, 1.0]), np.array([0, 1])).error == 0


@pytest.mark.parametrize('scale', [0.4, 1.0, 3.0])
def test_temperature_is_the_scale_of_the_logits(scale):
  logits, labels = drawn(scale=scale)
  found = calibration.temperature(logits, labels)
  assert found == pytest.approx(scale, rel=0.06)
  for near in (0.999 * found, 1.001 * found):
    assert calibration.class_loss(
      logits / near, labels
    ) >= calibration.class_loss(logits / found, labels)
  after = calibration.class_bins(logits / found, labels).error
  assert after < 0.03
  if scale == 3:
    assert calibration.class_bins(logits, labels).error > 5 * after


def test_temperature_of_sets_is_that_of_their_labels():
  rng = np.random.default_rng(1)
  logits = rng.normal(size=(2000, 4))
  labels = (rng.random((2000, 4)) < 1 / (1 + np.exp(-logits))).astype(int)
  found = calibration.temperature(2.5 * logits, labels)
  assert found == pytest.approx(2.5, rel=0.08)
  assert calibration.set_loss(logits, labels) == pytest.approx(
    np.mean(np.log1p(np.exp(-np.where(labels, 1, -1) * logits)))
  )
  assert calibration.set_bins(logits, labels).count.sum() == 8000


def test_the_ends():
  logits = np.array([[0.0, 1.0], [1.0, 0.0]] * 10)
  right = np.array([1, 0] * 10)
  assert calibration.temperature(logits, right) == pytest.approx(
    calibration.LOWEST
  )
  assert calibration.temperature(logits, 1 - right) == pytest.approx(
    calibration.HIGHEST
  )
  # No T changes anything.
  assert calibration.temperature(np.ones((20, 2)), right) == 1
  # Huge logits neither overflow nor give NaN.
  assert np.isfinite(calibration.class_loss(1e4 * logits, 1 - right))
