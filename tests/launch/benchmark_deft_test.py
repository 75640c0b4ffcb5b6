"""The table of DEFT's study program."""

import pytest

from launch.benchmarks import deft


def row(weight, seed, score, density):
  return dict(
    activation='relu', form='lora', weight=weight, seed=seed, score=score,
    density=density, density_real=density / 2,
  )  # fmt: skip


def test_an_arm_is_compared_with_the_one_without_the_loss():
  rows = [row(0.0, 0, 0.5, 0.4), row(1.0, 0, 0.6, 0.2), row(1.0, 1, 0.7, 0.1)]
  plain, sparse = deft.table(rows)
  assert plain['lower by'] is None and plain['sd'] is None
  assert sparse['seeds'] == 2 and sparse['score'] == pytest.approx(65)
  # The seeds that both arms have: one whose partner isn't there doesn't count.
  assert sparse['lower by'] == pytest.approx(50)
  assert deft.table(rows[1:])[0]['lower by'] is None
