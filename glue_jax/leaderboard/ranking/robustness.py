"""How far a ranking holds when tasks, systems or test examples are missing.

Each analysis draws partial data `draws` times and compares its ranking with
that of all data by Kendall's tau-b (Colombo et al., arXiv 2202.03799; their
curves are not confirmed here beyond what the tests recompute). `rank` is a
function of a list of tasks (systems, instances) to values (systems,), higher
better: `borda.means`, `borda.one_level`, or the counts of `borda.two_level`.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from glue_jax.leaderboard.ranking import agreement, borda

Rank = Callable[[Sequence[np.ndarray]], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Curve:
  """Agreement with the full ranking by the share of data used.

  Attributes:
    share: (points,), ends with 1.
    tau: (draws, points); NaN where a partial ranking ties all systems.
  """

  share: np.ndarray
  tau: np.ndarray

  def mean(self) -> np.ndarray:
    """Mean over draws (points,); NaN where no draw orders anything."""
    present = ~np.isnan(self.tau)
    with np.errstate(invalid='ignore'):
      total = np.where(present, self.tau, 0).sum(axis=0)
      return total / present.sum(axis=0)

  def band(self, low: float = 5, high: float = 95) -> np.ndarray:
    """Percentiles over draws, (2, points)."""
    points = np.full((2, len(self.share)), np.nan)
    for i, column in enumerate(self.tau.T):
      column = column[~np.isnan(column)]
      if len(column):
        points[:, i] = np.percentile(column, [low, high])
    return points


def fewer_tasks(
  tasks: Sequence[np.ndarray], rank: Rank, draws: int, seed: int = 0
) -> Curve:
  """Ranks on the first c of the shuffled tasks, c = 1 .. all."""
  rng = np.random.default_rng(seed)
  full = rank(tasks)
  rows = []
  for _ in range(draws):
    order = rng.permutation(len(tasks))
    partial = [
      rank([tasks[i] for i in order[: c + 1]]) for c in range(len(tasks))
    ]
    rows.append([_tau(p, full) for p in partial])
  return Curve(np.arange(1, len(tasks) + 1) / len(tasks), np.array(rows))


def fewer_systems(
  tasks: Sequence[np.ndarray], rank: Rank, draws: int, seed: int = 0
) -> Curve:
  """Ranks the first n of the shuffled systems, n = 2 .. all.

  Compared with the full ranking restricted to them: the mean can not change,
  a consensus of ranks can.
  """
  rng = np.random.default_rng(seed)
  full = rank(tasks)
  size = len(full)
  rows = []
  for _ in range(draws):
    order = rng.permutation(size)
    row = []
    for n in range(2, size + 1):
      some = order[:n]
      row.append(_tau(rank([task[some] for task in tasks]), full[some]))
    rows.append(row)
  return Curve(np.arange(2, size + 1) / size, np.array(rows))


def fewer_instances(
  tasks: Sequence[np.ndarray],
  rank: Rank,
  draws: int,
  seed: int = 0,
  points: int = 10,
) -> Curve:
  """Ranks on the first part of each task's shuffled instances.

  Args:
    tasks: scores (systems, instances).
    rank: see the module.
    draws: number of shuffles.
    seed: of the shuffles.
    points: shares used: 1/points, 2/points, .. 1.
  """
  rng = np.random.default_rng(seed)
  full = rank(tasks)
  share = np.arange(1, points + 1) / points
  rows = []
  for _ in range(draws):
    mixed = [task[:, rng.permutation(task.shape[1])] for task in tasks]
    row = []
    for part in share:
      sizes = [max(1, round(part * task.shape[1])) for task in mixed]
      kept = [task[:, :size] for task, size in zip(mixed, sizes)]
      row.append(_tau(rank(kept), full))
    rows.append(row)
  return Curve(share, np.array(rows))


def plackett_luce(
  systems: int,
  metrics: int,
  instances: int,
  phi: float,
  rng: np.random.Generator,
) -> np.ndarray:
  """Gumbel scores whose order is Plackett-Luce: (metrics, systems, instances).

  The log-weight of system i = 0 .. is `systems - phi * i`: the first is the
  best, and the larger phi, the clearer.
  """
  location = systems - phi * np.arange(systems)
  noise = rng.gumbel(size=(metrics, systems, instances))
  return noise + location[:, None]


def corrupted(
  scores: np.ndarray, count: int, scale: float = 1000
) -> np.ndarray:
  """Replaces the first metrics by the reversed true order, scaled up.

  Args:
    scores: (metrics, systems, instances), the first system being the best.
    count: metrics to corrupt.
    scale: by how much they outweigh the others in a mean.
  """
  systems = scores.shape[1]
  reverse = scale * np.arange(systems, dtype=np.float64)
  result = scores.copy()
  result[:count] = reverse[:, None]
  return result


def corruption_error(
  counts: Sequence[int],
  rank: Rank,
  phi: float,
  seeds: int,
  size: tuple[int, int, int] = (10, 11, 12),
) -> np.ndarray:
  """Kendall distance to the true order by number of corrupted metrics.

  Args:
    counts: numbers of corrupted metrics.
    rank: see the module.
    phi: clearness of the true order.
    seeds: draws 0 .. seeds - 1.
    size: systems, metrics, instances.

  Returns:
    mean distance (counts,), 0 for the true order, 1 for its reverse.
  """
  systems, metrics, instances = size
  truth = -np.arange(systems)
  errors = []
  for seed in range(seeds):
    rng = np.random.default_rng(seed)
    scores = plackett_luce(systems, metrics, instances, phi, rng)
    errors.append(
      [
        agreement.distance(rank(list(corrupted(scores, c))), truth)
        for c in counts
      ]
    )
  return np.mean(errors, axis=0)


def two_level(
  tasks: Sequence[np.ndarray], order: str = 'metric_outer'
) -> np.ndarray:
  """`borda.two_level` as a `Rank`."""
  return borda.two_level(tasks, order)[0]


def _tau(values: np.ndarray, full: np.ndarray) -> float:
  present = ~np.isnan(values) & ~np.isnan(full)
  if present.sum() < 2:
    return float('nan')
  return agreement.tau(values[present], full[present])
