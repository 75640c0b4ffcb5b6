"""Bootstrap: how sure a place is, and whether one system beats another.

A Borda count is a sum over ballots, so that drawing ballots anew is a product
of ranks with counts of draws: all draws at once.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from glue_jax.leaderboard.ranking import borda

# Draws times ballots held at once.
_CHUNK = 4_000_000


@dataclasses.dataclass(frozen=True)
class Intervals:
  """Places over draws.

  Attributes:
    low: (systems that get places,) lower percentile (1 is the best place).
    high: upper percentile of the same.
    first: share of the draws in which a system is first.
  """

  low: np.ndarray
  high: np.ndarray
  first: np.ndarray


def place_intervals(
  tasks: Sequence[np.ndarray],
  level: str = 'two',
  draws: int = 1000,
  seed: int = 0,
  coverage: float = 95,
  among: np.ndarray | None = None,
  order: str = 'metric_outer',
) -> Intervals:
  """Intervals of the Borda places when ballots are drawn anew.

  With one score a task the tasks are drawn; else the instances of each task.

  Args:
    tasks: for each task scores (systems, instances), NaN where missing; one
      instance each for a table of scores by task.
    level: 'one' or 'two', as in `borda`.
    draws: number of draws.
    seed: of the draws.
    coverage: percent between `low` and `high`.
    among: (systems,) bool, which ones get places; default: all.
    order: of the two levels, see `borda.two_level`.

  Raises:
    ValueError: an unknown level, or a system among them that has no score in
      some draws.
  """
  if level not in ('one', 'two'):
    raise ValueError(f"level {level!r}; expected 'one' or 'two'")
  by_task = all(task.shape[1] == 1 for task in tasks)
  if level == 'one' or by_task:
    tasks = [np.concatenate(list(tasks), axis=1)]
  elif order != 'metric_outer':
    # An instance's merged ballot is the same in every draw.
    tasks = [borda.first_level(tasks, order)]
  rng = np.random.default_rng(seed)
  total = np.stack([_drawn(task, draws, rng) for task in tasks])
  if len(tasks) > 1:
    # The second level ranks the systems anew in each draw.
    total = borda.mid_ranks(total.transpose(1, 0, 2)).transpose(1, 0, 2)
  with np.errstate(invalid='ignore'):
    present = ~np.isnan(total)
    total = np.where(present, total, 0).sum(0) / present.sum(0)
  if among is not None:
    total = total[among]
  if np.isnan(total).any():
    systems = sorted(set(np.argwhere(np.isnan(total))[:, 0].tolist()))
    raise ValueError(f'systems {systems} have no score in some draws')
  place = np.stack([borda.places(column) for column in total.T], axis=1)
  tail = (100 - coverage) / 2
  # A place is a whole number: the percentile is one of the drawn ones.
  low, high = np.percentile(
    place, [tail, 100 - tail], axis=1, method='closest_observation'
  )
  return Intervals(low, high, np.mean(place == 1, axis=1))


def _drawn(
  task: np.ndarray, draws: int, rng: np.random.Generator
) -> np.ndarray:
  """Borda counts (systems, draws) of ballots drawn with replacement."""
  rank = borda.mid_ranks(task)
  present = ~np.isnan(rank)
  complete = present.all()
  rank = np.where(present, rank, 0.0)
  parts = []
  for multiplicity in _multiplicities(task.shape[1], draws, rng):
    total = rank @ multiplicity
    if not complete:
      with np.errstate(divide='ignore', invalid='ignore'):
        total = total / (present @ multiplicity) * task.shape[1]
    parts.append(total)
  return np.concatenate(parts, axis=1)


def _multiplicities(
  size: int, draws: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
  """Yields how often each of `size` items is drawn: (size, some draws)."""
  step = max(1, _CHUNK // size)
  weights = np.full(size, 1 / size)
  for start in range(0, draws, step):
    count = min(step, draws - start)
    yield rng.multinomial(size, weights, size=count).T.astype(np.float64)


@dataclasses.dataclass(frozen=True)
class Difference:
  """The difference of two systems' means over the same examples.

  Attributes:
    value: mean(first) - mean(second).
    low: lower bound of the interval.
    high: upper bound.
    not_better: share of the draws in which the first is not better.
  """

  value: float
  low: float
  high: float
  not_better: float


def paired_bootstrap(
  first: np.ndarray,
  second: np.ndarray,
  draws: int = 1000,
  seed: int = 0,
  coverage: float = 95,
) -> Difference:
  """Draws examples anew, the same ones for both systems.

  Args:
    first: (examples,) scores of one system.
    second: (examples,) of the other one, in the same order.
    draws: number of draws.
    seed: of the draws.
    coverage: percent of the interval.

  Raises:
    ValueError: shapes that differ, no example, or values that aren't finite.
  """
  first, second = np.asarray(first, float), np.asarray(second, float)
  if first.shape != second.shape or first.ndim != 1 or not len(first):
    raise ValueError(
      'a paired comparison needs one score of each example for both; found '
      f'shapes {first.shape} and {second.shape}'
    )
  gap = first - second
  if not np.isfinite(gap).all():
    raise ValueError('scores must be finite numbers')
  rng = np.random.default_rng(seed)
  means = np.concatenate(
    [gap @ m / len(gap) for m in _multiplicities(len(gap), draws, rng)]
  )
  tail = (100 - coverage) / 2
  low, high = np.percentile(means, [tail, 100 - tail])
  return Difference(
    float(gap.mean()), float(low), float(high), float(np.mean(means <= 0))
  )
