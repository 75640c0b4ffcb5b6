"""Scores: a pure function of gold and predictions.

Several seeds are shown as mean and sample standard deviation; a single run as
its value and a bootstrap interval over the examples. The metrics are those of
glue_jax.metrics.scores.
"""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from glue_jax.leaderboard import score_bootstrap
from glue_jax.leaderboard.registry import Entry, Gold
from glue_jax.metrics import scores, squad

LARGEST_CONFUSION = 6  # classes of a matrix that is shown


@dataclasses.dataclass(frozen=True, eq=False)
class Score:
  """What one method reaches on one task, S seeds, n examples.

  Attributes:
    seeds: numbers of the runs.
    values: {metric: S values}, fractions as in glue_jax.metrics.scores.
    primary: name of the metric that ranks.
    draws: (`score_bootstrap.DRAWS`,) primary metric of each draw, mean over
      seeds.
    right: (n,) whether the first seed's predictions are right; None for
      numbers.
    confusion: counts by gold and predicted class, summed over seeds; None
      for many classes and for other kinds.
  """

  seeds: tuple[int, ...]
  values: Mapping[str, tuple[float, ...]]
  primary: str
  draws: np.ndarray
  right: np.ndarray | None
  confusion: tuple[tuple[int, ...], ...] | None

  @property
  def score(self) -> float:
    """Mean of the primary metric over seeds."""
    return self.mean(self.primary)

  def mean(self, metric: str) -> float:
    """Mean of a metric over seeds."""
    return float(np.mean(self.values[metric]))

  def sd(self, metric: str) -> float | None:
    """Sample standard deviation over seeds (n - 1); None for one seed."""
    values = self.values[metric]
    return float(np.std(values, ddof=1)) if len(values) > 1 else None

  @functools.cached_property
  def interval(self) -> tuple[float, float]:
    """95% bootstrap interval of the primary metric."""
    return score_bootstrap.interval(self.draws)

  @property
  def spread(self) -> tuple[str, float, float]:
    """What is drawn around the score: ('sd' or 'bootstrap', low, high)."""
    sd = self.sd(self.primary)
    if sd is None:
      return ('bootstrap', *self.interval)
    return ('sd', self.score - sd, self.score + sd)


@dataclasses.dataclass(frozen=True)
class Comparison:
  """Two methods on one task, first minus second.

  Attributes:
    difference: of the primary metric, means over seeds.
    low, high: 95% interval of the paired bootstrap.
    p: twice the smaller share of draws on one side of 0, at most 1.
    mcnemar: p of McNemar's exact test on the first seeds; None for numbers.
    only_first, only_second: examples that only one of them has right.
  """

  difference: float
  low: float
  high: float
  p: float
  mcnemar: float | None
  only_first: int | None
  only_second: int | None


def score_one(entry: Entry, gold: Gold, predictions: Any) -> dict[str, float]:
  """Computes all metrics of a task for one run.

  Args:
    entry: the task.
    gold: its right answers.
    predictions: (n,) class ids or numbers in gold's order, or n texts.
  """
  if entry.kind == 'text':
    rows = text_rows(entry, gold, predictions)
    return {name: float(np.mean(rows[name])) for name in entry.metrics}
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', UserWarning)  # constant: 0, as documented
    return scores.compute(entry.metrics, predictions, gold.labels, gold.groups)


def text_rows(
  entry: Entry, gold: Gold, predictions: Sequence[str]
) -> dict[str, np.ndarray]:
  """Exact match and F1 (0-1) of every text: {'exact_match', 'f1'}: (n,)."""
  rules = {
    'squad_v1': squad.squad_v1,
    'squad_v2': squad.squad_v2,
    'record': squad.record,
  }
  keys = [str(row) for row in range(len(predictions))]
  answers = dict(zip(keys, map(list, gold.answers)))
  texts = dict(zip(keys, predictions))
  if entry.rule == 'squad_v2':
    em, f1 = squad.squad_v2_scores(answers, texts)
    values = [(em[key], f1[key]) for key in keys]
  else:
    scale = 100 if entry.rule == 'squad_v1' else 1
    values = []
    for key in keys:
      one = rules[entry.rule]({key: answers[key]}, {key: texts[key]})
      values.append((one['exact_match'] / scale, one['f1'] / scale))
  em, f1 = np.asarray(values, np.float64).T
  return {'exact_match': em, 'f1': f1}


def draws_of(entry: Entry, gold: Gold, predictions: Any) -> np.ndarray:
  """The primary metric in every bootstrap draw: (DRAWS,)."""
  if entry.kind == 'text':
    return score_bootstrap.means(
      text_rows(entry, gold, predictions)[entry.primary]
    )
  if entry.kind == 'regression':
    return score_bootstrap.regression(entry.primary, predictions, gold.labels)
  return score_bootstrap.classification(
    entry.primary, predictions, gold.labels, len(entry.labels), gold.groups
  )


def score(entry: Entry, gold: Gold, runs: Mapping[int, Any]) -> Score:
  """Scores all seeds of a method on a task.

  Args:
    entry: the task.
    gold: its right answers.
    runs: {seed: predictions as in `score_one`}.
  """
  seeds = tuple(sorted(runs))
  metrics = [score_one(entry, gold, runs[seed]) for seed in seeds]
  draws = np.mean([draws_of(entry, gold, runs[s]) for s in seeds], axis=0)
  first = runs[seeds[0]]
  right = table = None
  if entry.kind == 'text':
    right = text_rows(entry, gold, first)['exact_match'] > 0
  elif entry.kind == 'classification':
    right = first == gold.labels
    if len(entry.labels) <= LARGEST_CONFUSION:
      counts = np.zeros((len(entry.labels),) * 2, int)
      for predictions in runs.values():
        np.add.at(counts, (gold.labels, predictions), 1)
      table = tuple(map(tuple, counts.tolist()))
  values = {m: tuple(one[m] for one in metrics) for m in entry.metrics}
  return Score(seeds, values, entry.primary, draws, right, table)


def compare(first: Score, second: Score) -> Comparison:
  """Compares two methods on one task, example by example."""
  differences = first.draws - second.draws
  low, high = score_bootstrap.interval(differences)
  side = min(np.mean(differences <= 0), np.mean(differences >= 0))
  p = only_first = only_second = None
  if first.right is not None:
    only_first = int(np.sum(first.right & ~second.right))
    only_second = int(np.sum(second.right & ~first.right))
    p = mcnemar(only_first, only_second)
  return Comparison(
    first.score - second.score,
    low,
    high,
    float(min(1.0, 2 * side)),
    p,
    only_first,
    only_second,
  )


@functools.cache
def mcnemar(only_first: int, only_second: int) -> float:
  """Two-sided p of McNemar's exact test (McNemar 1947, binomial form).

  Args:
    only_first: examples that only the first method has right.
    only_second: examples that only the second one has right.
  """
  from scipy import special

  fewer, count = min(only_first, only_second), only_first + only_second
  # Both tails are equal; the middle one of an even count is in both.
  return min(1.0, 2 * float(special.bdtr(fewer, count, 0.5)))


_BOARDS: dict[str, tuple[Callable, Mapping[str, tuple[str, ...]]]] = {
  'glue': (scores.glue_average, scores.GLUE_COLUMNS),
  'superglue': (scores.superglue_average, scores.SUPERGLUE_COLUMNS),
}


def board_columns(
  board: str, means: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, float]]:
  """Scores by the columns of a benchmark's average.

  Args:
    board: 'glue' or 'superglue'.
    means: {task: {metric: value}} by the registry's names; MNLI stands there
      as mnli_matched and mnli_mismatched.
  """
  columns = {}
  for task, names in _BOARDS[board][1].items():
    row = dict(means.get(task, {}))
    if task == 'mnli':
      for half in ('matched', 'mismatched'):
        part = means.get(f'mnli_{half}', {})
        if 'accuracy' in part:
          row[f'{half}_accuracy'] = part['accuracy']
    if all(name in row for name in names):
      columns[task] = {name: row[name] for name in names}
  return columns


def average(
  board: str,
  means: Mapping[str, Mapping[str, float]],
  registered: Sequence[str],
) -> scores.Average | None:
  """A benchmark's average over the tasks that the registry has.

  Args:
    board: 'glue' or 'superglue'.
    means: as in `board_columns`.
    registered: names of the registry's tasks of this benchmark.

  Returns:
    The average with its convention, which names the tasks that the registry
    lacks; None if the method lacks a task of the registry.
  """
  function, columns = _BOARDS[board]
  has = {
    name.removesuffix('_matched').removesuffix('_mismatched')
    for name in registered
  }
  by_column = board_columns(board, means)
  wanted = [task for task in columns if task in has]
  if not wanted or any(task not in by_column for task in wanted):
    return None
  return function(by_column, [task for task in columns if task not in has])
