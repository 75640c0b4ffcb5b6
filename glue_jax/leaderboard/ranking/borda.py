"""Consensus of rankings by the Borda count: every column of scores is a vote.

"What are the best systems? New perspectives on NLP Benchmarking", Colombo et
al., 2022, arXiv 2202.03799. Scores: higher is better everywhere; negate losses
first. Ranks and counts: higher is better too, 0 for the worst system. Places: 1
for the best. A missing score is NaN and is never taken for a 0.

Only ranks matter: a strictly increasing transform of a column changes nothing.
"""

from collections.abc import Sequence

import numpy as np

# Ballots that are ranked at once: bounds the memory of many ballots.
_CHUNK = 16_384


def mid_ranks(scores: np.ndarray, ties: str = 'mid') -> np.ndarray:
  """Ranks the systems in each column.

  r_i = #{j: s_j < s_i} + 0.5 #{j != i: s_j = s_i}. A column that lacks systems
  ranks those present, stretched to the full range: r_i (N-1) / (n-1), and the
  middle (N-1)/2 where only one is present.

  Args:
    scores: (systems, ...), NaN where missing.
    ties: 'mid', or 'row' for the official code's ranks with a stable sort (of
      equal scores the later row is the better one).

  Returns:
    ranks of the same shape, float64; NaN where the score is missing.

  Raises:
    ValueError: infinite scores, an unknown `ties`, or 'row' with gaps.
  """
  scores = _checked(scores)
  ballots = scores.reshape(len(scores), -1).T
  ranks = np.empty(ballots.shape)
  for start in range(0, len(ballots), _CHUNK):
    part = slice(start, start + _CHUNK)
    ranks[part] = _rank_ballots(ballots[part], ties)
  return ranks.T.reshape(scores.shape)


def borda(scores: np.ndarray, ties: str = 'mid') -> np.ndarray:
  """Counts of one level: the sum of a system's ranks over all columns.

  A system that lacks scores gets its mean rank times the number of columns, so
  that gaps neither cost nor earn places (the official code has no rule).

  Args:
    scores: (systems, ...); all columns are ballots of equal weight.
    ties: see `mid_ranks`.

  Returns:
    counts (systems,), float64; NaN for a system without any score.
  """
  scores = _checked(scores)
  ballots = scores.reshape(len(scores), -1).T
  total, votes = np.zeros(len(scores)), np.zeros(len(scores))
  for start in range(0, len(ballots), _CHUNK):
    ranks = _rank_ballots(ballots[start : start + _CHUNK], ties)
    total += np.nansum(ranks, axis=0)
    votes += np.sum(~np.isnan(ranks), axis=0)
  with np.errstate(divide='ignore', invalid='ignore'):
    # Multiplied by exactly 1 where no score is missing.
    return np.where(votes > 0, total * (len(ballots) / votes), np.nan)


def two_level(
  tasks: Sequence[np.ndarray],
  order: str = 'metric_outer',
  ties: str = 'mid',
) -> tuple[np.ndarray, np.ndarray]:
  """Borda of Borda: every task has one vote, whatever its size.

  Args:
    tasks: for each task scores (systems, instances); the numbers of instances
      may differ.
    order: 'metric_outer' merges the instances of a task, then the tasks (the
      authors' advice); 'instance_outer' merges the tasks of an instance, then
      the instances, which must be the same ones in all tasks.
    ties: see `mid_ranks`, on both levels.

  Returns:
    counts (systems,), and the first level's counts (systems, tasks or
    instances).

  Raises:
    ValueError: an unknown order, or numbers of instances that differ where
      they must not.
  """
  first = first_level(tasks, order, ties)
  return borda(first, ties), first


def first_level(
  tasks: Sequence[np.ndarray],
  order: str = 'metric_outer',
  ties: str = 'mid',
) -> np.ndarray:
  """Counts of the inner level of `two_level`: (systems, outer voters)."""
  if order not in ('metric_outer', 'instance_outer'):
    raise ValueError(
      f"order {order!r}; expected 'metric_outer' or 'instance_outer'"
    )
  if order == 'instance_outer':
    sizes = {np.shape(task) for task in tasks}
    if len(sizes) != 1:
      raise ValueError(
        "order 'instance_outer' needs the same instances in all tasks; found "
        f'shapes {sorted(sizes)}'
      )
    tasks = np.stack(tasks).transpose(2, 1, 0)  # (instance, system, task)
  return np.stack([borda(task, ties) for task in tasks], axis=1)


def one_level(tasks: Sequence[np.ndarray], ties: str = 'mid') -> np.ndarray:
  """Counts (systems,) with all instances of all tasks as ballots."""
  return borda(np.concatenate(list(tasks), axis=1), ties)


def means(tasks: Sequence[np.ndarray]) -> np.ndarray:
  """The usual average: over a task's instances, then over tasks; (systems,).

  Missing scores are left out of a system's own average.
  """
  inner = [_mean(np.asarray(task, np.float64)) for task in tasks]
  return _mean(np.stack(inner, axis=1))


def places(values: np.ndarray) -> np.ndarray:
  """Competition places (1, 2, 2, 4): 1 + the number of better systems.

  Args:
    values: (systems,), higher is better.

  Returns:
    places (systems,), int64.

  Raises:
    ValueError: NaN among the values.
  """
  values = np.asarray(values)
  if np.isnan(values).any():
    raise ValueError(
      f'no place for systems {np.flatnonzero(np.isnan(values)).tolist()}: they '
      'have no value; leave them out'
    )
  better = len(values) - np.searchsorted(np.sort(values), values, side='right')
  return 1 + better


def _mean(values: np.ndarray) -> np.ndarray:
  present = ~np.isnan(values)
  with np.errstate(invalid='ignore'):
    return np.where(present, values, 0).sum(axis=1) / present.sum(axis=1)


def _checked(scores: np.ndarray) -> np.ndarray:
  scores = np.asarray(scores, np.float64)
  if np.isinf(scores).any():
    raise ValueError('infinite scores can not be ranked; NaN means missing')
  return scores


def _rank_ballots(ballots: np.ndarray, ties: str) -> np.ndarray:
  """Ranks along the last axis of (ballots, systems)."""
  if ties not in ('mid', 'row'):
    raise ValueError(f"ties {ties!r}; expected 'mid' or 'row'")
  size = ballots.shape[1]
  order = np.argsort(ballots, axis=1, kind='stable')  # NaN last
  ordered = np.take_along_axis(ballots, order, axis=1)
  position = np.broadcast_to(np.arange(size), ballots.shape)
  missing = np.isnan(ordered)
  if ties == 'row':
    if missing.any():
      raise ValueError("ties='row' has no rule for missing scores")
    value = position.astype(np.float64)
  else:
    value = _middle_of_runs(ordered, position)
  if missing.any():
    present = size - missing.sum(axis=1, keepdims=True)
    with np.errstate(divide='ignore', invalid='ignore'):
      stretched = value * ((size - 1) / (present - 1))
    value = np.where(present == 1, (size - 1) / 2, stretched)
    value = np.where(missing, np.nan, value)
  ranks = np.empty(ballots.shape)
  np.put_along_axis(ranks, order, value, axis=1)
  return ranks


def _middle_of_runs(ordered: np.ndarray, position: np.ndarray) -> np.ndarray:
  """Mean position of each run of equal values in sorted rows."""
  starts = np.ones(ordered.shape, bool)
  starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
  if starts.all():
    return position.astype(np.float64)
  ends = np.ones(ordered.shape, bool)
  ends[:, :-1] = starts[:, 1:]
  first = np.maximum.accumulate(np.where(starts, position, 0), axis=1)
  behind = np.where(ends, position, ordered.shape[1])[:, ::-1]
  last = np.minimum.accumulate(behind, axis=1)[:, ::-1]
  return (first + last) / 2
