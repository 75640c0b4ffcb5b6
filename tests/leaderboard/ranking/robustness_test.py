"""Agreement, partial data, corrupted metrics and the bootstrap of places."""

import numpy as np
import pytest

from glue_jax.leaderboard.ranking import (
  agreement,
  borda,
  place_bootstrap,
  robustness,
)


def test_distance_and_tau():
  first, second = np.array([4, 3, 2, 1]), np.array([4, 2, 3, 1])
  assert agreement.distance(first, second) == 1 / 6
  assert agreement.distance(first, -first) == 1
  assert agreement.distance(first, [4, 2, 2, 1]) == 0.5 / 6
  assert agreement.tau(first, second) == pytest.approx(1 - 2 / 6)
  assert agreement.top_share(first, second, 2) == 0.5
  assert agreement.top_tau(first, second, 3) == pytest.approx(1 / 3)
  assert np.isnan(agreement.top_tau(first, second, 1))


def test_all_data_agrees_with_itself():
  tasks = [np.random.default_rng(t).normal(size=(6, 20)) for t in range(4)]
  for analysis in (
    robustness.fewer_tasks,
    robustness.fewer_systems,
    robustness.fewer_instances,
  ):
    for rank in (borda.means, robustness.two_level):
      curve = analysis(tasks, rank, draws=3, seed=1)
      assert curve.tau.shape == (3, len(curve.share)) and curve.share[-1] == 1
      np.testing.assert_allclose(curve.tau[:, -1], 1)
      assert curve.mean()[0] < 1 or analysis is robustness.fewer_systems
      again = analysis(tasks, rank, draws=3, seed=1)
      np.testing.assert_array_equal(curve.tau, again.tau)


def test_the_mean_does_not_depend_on_who_else_is_there():
  tasks = [np.random.default_rng(t).normal(size=(6, 5)) for t in range(3)]
  curve = robustness.fewer_systems(tasks, borda.means, draws=4)
  np.testing.assert_allclose(curve.tau, 1)


def test_a_curve_without_order_is_no_number():
  curve = robustness.Curve(
    np.array([0.5, 1.0]), np.array([[np.nan, 1.0], [np.nan, 0.5]])
  )
  assert np.isnan(curve.mean()[0]) and curve.mean()[1] == 0.75
  assert np.isnan(curve.band()[:, 0]).all()


def test_corruption_hits_the_mean_first():
  errors = {
    name: robustness.corruption_error((0, 1), rank, phi=0.5, seeds=5)
    for name, rank in (('mean', borda.means), ('two', robustness.two_level))
  }
  assert errors['mean'][1] > 0.99 and errors['two'][1] < 0.1
  assert max(error[0] for error in errors.values()) < 0.05


def test_plackett_luce_is_ordered_by_weight():
  rng = np.random.default_rng(0)
  scores = robustness.plackett_luce(3, 1, 20_000, 1.0, rng)[0]
  first = np.bincount(scores.argmax(0), minlength=3) / 20_000
  weights = np.exp([0.0, -1.0, -2.0])
  np.testing.assert_allclose(first, weights / weights.sum(), atol=0.012)


def test_intervals_hold_the_place_and_shrink_with_data():
  rng = np.random.default_rng(0)
  quality = np.array([1.0, 0.9, 0.0])
  widths = []
  for size in (10, 1000):
    tasks = [quality[:, None] + rng.normal(size=(3, size)) for _ in range(3)]
    intervals = place_bootstrap.place_intervals(tasks, draws=200)
    place = borda.places(robustness.two_level(tasks))
    assert np.all(intervals.low <= place) and np.all(place <= intervals.high)
    assert intervals.first.sum() >= 1
    widths.append((intervals.high - intervals.low).sum())
  assert widths[1] < widths[0]
  assert intervals.high[2] == intervals.low[2] == 3


@pytest.mark.parametrize('level', ['one', 'two'])
def test_drawn_counts_are_those_of_the_drawn_ballots(level, monkeypatch):
  rng = np.random.default_rng(1)
  tasks = [rng.integers(0, 4, (4, k)).astype(float) for k in (5, 8)]
  drawn = iter(
    [rng.integers(0, k, k) for k in ((13,) if level == 'one' else (5, 8))]
  )
  used = []

  def once(size, draws, _):
    used.append(next(drawn))
    yield np.bincount(used[-1], minlength=size)[:, None].astype(float)

  monkeypatch.setattr(place_bootstrap, '_multiplicities', once)
  intervals = place_bootstrap.place_intervals(tasks, level, draws=1)
  if level == 'one':
    count = borda.borda(np.concatenate(tasks, axis=1)[:, used[0]])
  else:
    count = robustness.two_level([t[:, d] for t, d in zip(tasks, used)])
  np.testing.assert_array_equal(intervals.low, borda.places(count))


def test_gaps_in_the_bootstrap():
  scores = np.array([[3.0, 3, 3, 3], [2, np.nan, 2, 2], [1, 1, 1, 1]])
  tasks = [column[:, None] for column in scores.T]
  complete = np.array([True, False, True])
  intervals = place_bootstrap.place_intervals(tasks, draws=50, among=complete)
  assert intervals.low.tolist() == [1, 2] and intervals.high.tolist() == [1, 2]
  scores[1, 1:] = np.nan
  tasks = [column[:, None] for column in scores.T]
  with pytest.raises(ValueError, match=r'systems \[1\] have no score'):
    place_bootstrap.place_intervals(tasks, draws=50)


def test_paired_bootstrap():
  rng = np.random.default_rng(0)
  first = rng.normal(size=500)
  second = first - 0.1 + 0.05 * rng.normal(size=500)
  gap = place_bootstrap.paired_bootstrap(first, second)
  assert gap.low < gap.value < gap.high
  assert gap.low > 0 and gap.not_better == 0
  error = 1.96 * (first - second).std() / np.sqrt(500)
  assert gap.high - gap.value == pytest.approx(error, rel=0.2)
  swapped = place_bootstrap.paired_bootstrap(second, first)
  assert swapped.value == -gap.value and swapped.not_better == 1
  with pytest.raises(ValueError, match='shapes'):
    place_bootstrap.paired_bootstrap(first, second[:3])
  with pytest.raises(ValueError, match='finite'):
    place_bootstrap.paired_bootstrap(first, np.full(500, np.nan))
