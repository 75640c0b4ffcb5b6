"""Pictures of a ranking: places with intervals, and robustness curves."""

import os
from collections.abc import Mapping

import numpy as np

from glue_jax.leaderboard.ranking.ranking import Ranking
from glue_jax.leaderboard.ranking.robustness import Curve
from glue_jax.reporting import plots

_BORDA, _MEAN, _KEMENY = '#1f6fb4', '#d9662c', '#2f9e63'
_SHOWN = 40


def plot_places(ranking: Ranking, png: str | os.PathLike) -> int:
  """Draws the places by Borda (with intervals), Kemeny and mean.

  Args:
    ranking: its placed systems are drawn, the best ones if there are many.
    png: file to write.

  Returns:
    the number of systems drawn.
  """
  rows = [i for i, place in enumerate(ranking.place) if place is not None]
  left_out = len(rows) - _SHOWN
  rows = rows[:_SHOWN]
  size = (7.2, 0.26 * len(rows) + 1.6)
  figure, (axis,) = plots.new_figure(1, 1, size)
  for y, i in enumerate(rows):
    if ranking.interval[i]:
      axis.plot(
        ranking.interval[i],
        [y, y],
        color=_BORDA,
        lw=4,
        alpha=0.25,
        solid_capstyle='butt',
      )
  for values, color, mark, label in (
    (ranking.place, _BORDA, 'o', 'Borda, 95 % of draws'),
    (ranking.mean_place, _MEAN, 'x', 'mean'),
    (ranking.kemeny, _KEMENY, '+', 'Kemeny'),
  ):
    axis.plot(
      [values[i] for i in rows],
      range(len(rows)),
      mark,
      color=color,
      markersize=5,
      label=label,
    )
  axis.set_yticks(
    range(len(rows)), [ranking.systems[i][:40] for i in rows], fontsize=8
  )
  axis.set_ylim(len(rows) - 0.5, -0.5)
  axis.set_xlabel('place (1 = best)')
  axis.locator_params(axis='x', integer=True)
  axis.legend(frameon=False, fontsize=8, loc='lower left')
  note = f'{left_out} more systems not drawn' if left_out > 0 else ''
  plots.save_figure(figure, png, 'Places of the systems', note)
  return len(rows)


def plot_robustness(
  curves: Mapping[str, Mapping[str, Curve]], png: str | os.PathLike
) -> None:
  """Draws tau to the full ranking against the share of data used.

  Args:
    curves: {what is left out: {'Borda' or 'mean': curve}}, a panel each.
    png: file to write.
  """
  figure, axes = plots.new_figure(len(curves), 1)
  for axis, (name, pair) in zip(axes, curves.items()):
    for (label, curve), color in zip(pair.items(), (_BORDA, _MEAN)):
      low, high = curve.band()
      axis.fill_between(curve.share, low, high, color=color, alpha=0.15, lw=0)
      axis.plot(curve.share, curve.mean(), color=color, marker='.', label=label)
    axis.set_xlabel(f'share of the {name}')
    axis.set_ylabel('tau-b to the full ranking')
    axis.set_ylim(min(0.0, _lowest(pair)), 1.02)
    axis.legend(frameon=False, fontsize=8)
  plots.save_figure(
    figure, png, 'Rankings from partial data', 'mean and 5 % to 95 % of draws'
  )


def _lowest(pair: Mapping[str, Curve]) -> float:
  bands = np.concatenate([curve.band()[0] for curve in pair.values()])
  return float(np.nanmin(bands)) if not np.isnan(bands).all() else 0.0
