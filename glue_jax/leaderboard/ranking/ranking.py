"""The ranking of a table of scores: places, how sure they are, and a report."""

import dataclasses
import functools

import numpy as np

from glue_jax.leaderboard.ranking import (
  agreement,
  borda,
  kemeny,
  place_bootstrap,
  robustness,
)
from glue_jax.leaderboard.ranking.score_table import ScoreTable

TOP = (3, 10)


@dataclasses.dataclass(frozen=True)
class Ranking:
  """Places of the complete systems, best first, and the incomplete ones below.

  Every field is in the order of the rows shown: by place, then by name;
  systems that lack scores come last and have no place unless they were asked
  to be ranked too.

  Attributes:
    systems: names.
    mean: average of the tasks' averages; where lower is better it is negated.
    mean_place: place by the mean; None below the line.
    count: Borda counts.
    place: place by the count; None below the line.
    interval: (low, high) of the place over draws; None below the line.
    kemeny: place in the Kemeny order, 1 = best; None below the line.
    kemeny_exact: False if that order is the local search's.
    missing: tasks for which a system has no, or not every, score.
    tau: Kendall's tau-b of means and counts of the placed systems.
    top: {k: share in common of the top k by mean and by count}.
  """

  systems: tuple[str, ...]
  mean: tuple[float, ...]
  mean_place: tuple[int | None, ...]
  count: tuple[float, ...]
  place: tuple[int | None, ...]
  interval: tuple[tuple[int, int] | None, ...]
  kemeny: tuple[int | None, ...]
  kemeny_exact: bool
  missing: tuple[tuple[str, ...], ...]
  tau: float
  top: dict[int, float]


def rank(
  table: ScoreTable,
  level: str = 'two',
  order: str = 'metric_outer',
  draws: int = 1000,
  seed: int = 0,
  rank_incomplete: bool = False,
) -> Ranking:
  """Ranks the systems of a table.

  Args:
    table: scores, higher is better.
    level: 'two' (every task one vote, the authors' advice) or 'one' (every
      instance one vote); the same for a table of one score a task.
    order: see `borda.two_level`.
    draws: of the bootstrap of places; 0 for none.
    seed: of these draws.
    rank_incomplete: also gives places to systems that lack scores.

  Raises:
    ValueError: fewer than two systems are left to rank.
  """
  tasks = list(table.scores)
  count = function(table, level, order)(tasks)
  mean = borda.means(tasks)
  placed = np.ones(len(count), bool) if rank_incomplete else ~table.incomplete()
  if placed.sum() < 2:
    raise ValueError(
      f'{int(placed.sum())} systems have all scores; a ranking needs two (rank '
      'incomplete ones too, or choose fewer tasks)'
    )
  votes = _ballots(table, level, order)
  merged = kemeny.consensus(votes[placed])
  kemeny_place = np.empty(placed.sum(), int)
  kemeny_place[list(merged.order)] = np.arange(1, placed.sum() + 1)
  columns = {
    'mean_place': borda.places(np.round(mean[placed], 9)),
    'place': borda.places(count[placed]),
    'kemeny': kemeny_place,
  }
  if draws:
    drawn = place_bootstrap.place_intervals(
      tasks, level, draws, seed, among=placed, order=order
    )
    columns['interval'] = np.stack([drawn.low, drawn.high], axis=1)
  full = {name: _spread(values, placed) for name, values in columns.items()}
  full.setdefault('interval', [None] * len(count))
  rows = sorted(
    range(len(count)),
    key=lambda i: (not placed[i], -count[i], table.systems[i]),
  )

  def at(values):
    return tuple(values[i] for i in rows)

  top_sizes = [k for k in TOP if k < placed.sum()]
  return Ranking(
    systems=at(table.systems),
    mean=at(mean.tolist()),
    count=at(count.tolist()),
    missing=at(_missing(table)),
    kemeny_exact=merged.exact,
    tau=agreement.tau(mean[placed], count[placed]),
    top={
      k: agreement.top_share(mean[placed], count[placed], k) for k in top_sizes
    },
    **{name: at(values) for name, values in full.items()},
  )


def compare(
  table: ScoreTable, first: str, second: str, draws: int = 1000, seed: int = 0
) -> dict[str, place_bootstrap.Difference]:
  """Paired bootstrap of two systems, first minus second; higher is better.

  Args:
    table: scores of instances, which are drawn anew; of a table of one score a
      task the tasks are drawn.
    first, second: names of systems.
    draws: number of draws.
    seed: of the draws.

  Returns:
    The difference on each task, or {'tasks': that over all tasks}.

  Raises:
    ValueError: an unknown system, or one that lacks a score.
  """
  unknown = sorted({first, second} - set(table.systems))
  if unknown:
    raise ValueError(
      f'no systems {unknown}; there are {", ".join(sorted(table.systems))}'
    )
  rows = [table.systems.index(name) for name in (first, second)]
  parts = dict(zip(table.tasks, table.scores))
  if not table.by_instance:
    parts = {'tasks': np.concatenate(table.scores, axis=1)}
  gaps = {}
  for name, scores in parts.items():
    try:
      one, other = scores[rows]
      gaps[name] = place_bootstrap.paired_bootstrap(one, other, draws, seed)
    except ValueError as error:
      raise ValueError(f'{name}: {error}') from None
  return gaps


def function(
  table: ScoreTable, level: str, order: str = 'metric_outer'
) -> robustness.Rank:
  """Returns tasks -> Borda counts of a level.

  Raises:
    ValueError: an unknown level.
  """
  if level not in ('one', 'two'):
    raise ValueError(f"level {level!r}; expected 'one' or 'two'")
  if level == 'one' or not table.by_instance:
    return borda.one_level
  return functools.partial(robustness.two_level, order=order)


def _ballots(table: ScoreTable, level: str, order: str) -> np.ndarray:
  """What votes in the Kemeny order: (systems, tasks or instances)."""
  if level == 'one' or not table.by_instance:
    return np.concatenate(table.scores, axis=1)
  return borda.first_level(table.scores, order)


def _missing(table: ScoreTable) -> list[tuple[str, ...]]:
  gaps = [np.isnan(task).any(axis=1) for task in table.scores]
  return [
    tuple(name for name, gap in zip(table.tasks, gaps) if gap[i])
    for i in range(len(table.systems))
  ]


def _spread(values: np.ndarray, placed: np.ndarray) -> list:
  """Puts the placed systems' values at their rows, None elsewhere."""
  spread = [None] * len(placed)
  for row, value in zip(np.flatnonzero(placed), values.tolist()):
    spread[row] = tuple(value) if isinstance(value, list) else value
  return spread


def text(ranking: Ranking, rows: int | None = None) -> str:
  """The table for a terminal; `rows` bounds the systems shown."""
  width = max(6, *(len(name) for name in ranking.systems[:rows]))
  width = min(width, 48)
  star = '' if ranking.kemeny_exact else '*'
  head = f'{"place":>5} {"95 %":>9} {"system":<{width}} {"Borda":>10}'
  lines = [f'{head} {"Kemeny" + star:>7} {"mean":>12} {"by mean":>7}']
  below = False
  for i, name in enumerate(ranking.systems[:rows]):
    if ranking.place[i] is None and not below:
      below = True
      lines.append('incomplete:')
    place, interval = ranking.place[i], ranking.interval[i]
    shown = f'{interval[0]}-{interval[1]}' if interval else ''
    lines.append(
      f'{_or_dash(place):>5} {shown:>9} {name[:width]:<{width}} '
      f'{ranking.count[i]:>10.6g} {_or_dash(ranking.kemeny[i]):>7} '
      f'{ranking.mean[i]:>12.6g} {_or_dash(ranking.mean_place[i]):>7}'
      + (
        f'  lacks {", ".join(ranking.missing[i])}' if ranking.missing[i] else ''
      )
    )
  if rows is not None and rows < len(ranking.systems):
    lines.append(f'... {len(ranking.systems) - rows} more')
  if star:
    lines.append(
      f'* approximate: exact for at most {kemeny.EXACT} systems, local search '
      'above'
    )
  lines.append(f'tau-b of mean and Borda: {ranking.tau:.4f}')
  for k, share in ranking.top.items():
    lines.append(f'top {k} in common: {round(share * k)}/{k}')
  return '\n'.join(lines)


def _or_dash(value: int | None) -> str:
  return '-' if value is None else str(value)
