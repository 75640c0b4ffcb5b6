"""Coordinates of the plots."""

import hypothesis
import hypothesis.strategies as st
import pytest

from glue_jax.leaderboard.site import svg
from glue_jax.leaderboard.site.svg import Bar, Point

POINTS = st.lists(
  st.builds(Point, st.text(max_size=30), st.integers(0, 9), st.integers(0, 9)),
  min_size=1,
  max_size=12,
)


@hypothesis.settings(deadline=None)
@hypothesis.given(POINTS)
def test_the_front_is_what_no_other_point_beats(points):
  def beaten(p):
    return any(
      q.cost <= p.cost
      and q.score >= p.score
      and (q.cost, q.score) != (p.cost, p.score)
      for q in points
    )

  expected = {i for i, p in enumerate(points) if not beaten(p)}
  assert set(svg.pareto(points)) == expected


@hypothesis.settings(deadline=None)
@hypothesis.given(POINTS)
def test_points_stay_inside_and_labels_clear_of_each_other(points):
  plot = svg.scatter(points)
  box = plot['box']
  for point in plot['points']:
    assert box['left'] <= point['x'] <= box['right']
    assert box['top'] <= point['y'] <= box['bottom']
  labelled = [p for p in plot['points'] if p['label']]
  for point in labelled:
    for other in plot['points']:
      inside = point['x'] - 5 < other['x'] < point['x'] + 5
      above = point['y'] - 19 < other['y'] < point['y'] - 6
      assert not (inside and above)


@pytest.mark.parametrize('low, high', [(0, 100), (0, 1), (-3, 7), (82, 85.5)])
def test_ticks_are_few_round_and_inside(low, high):
  ticks = svg.ticks(low, high)
  assert 2 <= len(ticks) <= 6
  assert all(low - 1e-9 <= t <= high + 1e-9 for t in ticks)
  steps = {round(b - a, 9) for a, b in zip(ticks, ticks[1:])}
  assert len(steps) == 1 and float(f'{steps.pop():.1g}') in (
    0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50,
  )  # fmt: skip


def test_bars_are_in_proportion_also_below_zero():
  plot = svg.bars([Bar('a', 50, 40, 60), Bar('b', -25, -30, -20)])
  first, second = plot['bars']
  assert first['width'] == pytest.approx(2 * second['width'], rel=1e-3)
  assert second['x'] + second['width'] == pytest.approx(first['x'], abs=0.02)
  assert first['low'] < first['x'] + first['width'] < first['high']
  assert [t['text'] for t in plot['ticks']] == ['-20', '0', '20', '40', '60']


def test_long_labels_are_cut_and_kept_in_full():
  plot = svg.bars([Bar('x' * 64, 1, 1, 1)])
  assert len(plot['bars'][0]['label']) == 24
  assert plot['bars'][0]['full'] == 'x' * 64
