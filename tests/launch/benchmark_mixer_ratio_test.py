"""Ratios of mixers to attention, seed by seed."""

import pytest

from launch.benchmarks import mixer_ratio


def of(**tasks):
  return dict(distance=0.1, parameters=5, tasks=tasks)


def test_a_ratio_is_that_of_means_with_equal_seeds():
  found = {
    'ponet': of(rte=[0.5, 0.6], cola=[0.1, 0.2]),
    'attention': of(rte=[0.6, 0.6], cola=[0.2, 0.4]),
  }
  ponet, attention = mixer_ratio.table(found)
  ratios = 0.6 / 0.8, 0.8 / 1.0
  assert ponet['ratios'] == pytest.approx(ratios, abs=1e-4)
  assert ponet['ratio'] == pytest.approx(sum(ratios) / 2, abs=1e-4)
  assert ponet['mean'] == pytest.approx(0.35) and ponet['rte'] == 0.55
  assert (attention['ratio'], attention['std']) == (1, 0)
  # Without attention there is nothing to be a share of.
  (alone,) = mixer_ratio.table({'ponet': found['ponet']})
  assert 'ratio' not in alone and alone['ratios'] == []
