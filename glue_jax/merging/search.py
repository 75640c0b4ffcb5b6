"""Grid search of merges: selected on held-out rows, one table of all trials.

The grids are those of DARE's official code: first a method's own settings, then
DARE's rates on top of the best of them.
"""

import dataclasses
import itertools
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from glue_jax.merging import merge, stream, ties
from glue_jax.merging.dare import Drop
from glue_jax.merging.settings import NEED_DATA, Settings
from glue_jax.merging.sources import Group
from glue_jax.merging.tasks import TaskModel
from glue_jax.reporting import tables

SCALES = (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
EXAMPLES = (256, 512, 1024, 2048)
GRIDS: Mapping[str, Mapping[str, Sequence]] = {
  'average': {},
  'task_arithmetic': {'scale': SCALES},
  'ties': {'scale': SCALES, 'mask_rate': (0.7, 0.8, 0.9)},
  # A coefficient common to all models would cancel; of two models the first
  # gets it and the second the rest, more models share alike.
  'fisher': {'coefficients': SCALES, 'examples': EXAMPLES},
  'regmean': {'alpha': (0.7, 0.8, 0.9, 1.0), 'examples': EXAMPLES},
}
RATES = (0.1, 0.3, 0.5, 0.7, 0.9)

Body = Mapping[str, np.ndarray]


class Bench:
  """Models in memory with their tasks; merges them and scores the result.

  What depends on one model alone (what is left after dropping, its statistics)
  is computed once for all merges that it takes part in.
  """

  def __init__(
    self,
    base: stream.Weights | None,
    tasks: Sequence[TaskModel],
    names: Sequence,
  ):
    """Args: base: pre-trained. tasks: of the models. names: merged tensors."""
    arrays = stream.to_arrays(base) if base else {}
    self.base = stream.from_arrays(arrays, 'base') if base else None
    self.tasks = {task.source.name: task for task in tasks}
    self._own = {
      name: stream.from_arrays(
        stream.to_arrays(task.source.weights.select(names)), name
      )
      for name, task in self.tasks.items()
    }
    self._cache: dict[Any, Any] = {}

  def body(self, name: str, drop: Drop | None = None) -> Body:
    """Returns one model's merged tensors after dropping."""
    key = ('body', name, drop)
    if key not in self._cache:
      settings = Settings('average', drop=drop)
      (model,) = merge.drop(settings, self.base, [self._own[name]])
      self._cache[key] = stream.to_arrays(model)
    return self._cache[key]

  def merged(self, names: Sequence[str], settings: Settings) -> Body:
    """Returns the merge of some of the models, in memory."""
    models = [
      stream.from_arrays(self.body(name, settings.drop), name) for name in names
    ]
    if settings.method == 'ties':
      thresholds = [self._threshold(m, settings) for m in models]
      tensors = ties.ties(
        self.base, models, settings.mask_rate, settings.scale, thresholds
      )
    else:
      statistics = None
      if settings.method in NEED_DATA:
        statistics = [self.statistics(name, settings) for name in names]
      hf = self.tasks[names[0]].source.layout == 'hf'
      tensors = merge.combine(settings, self.base, models, statistics, hf)
    return stream.to_arrays(tensors)

  def statistics(self, name: str, settings: Settings) -> Body:
    """Returns a model's Fisher information or Gram matrices."""
    kind = settings.fisher if settings.method == 'fisher' else ''
    key = (settings.method, kind, settings.examples, name, settings.drop)
    if key not in self._cache:
      body = self.body(name, settings.drop)
      self._cache[key] = self.tasks[name].gather(body, settings)
    return self._cache[key]

  def _threshold(self, model, settings) -> np.float32:
    key = ('ties', settings.mask_rate, model.name, settings.drop)
    if key not in self._cache:
      self._cache[key] = ties.threshold(self.base, model, settings.mask_rate)
    return self._cache[key]

  def forget(self, drop: Drop | None) -> None:
    """Frees what was kept of models after one way of dropping."""
    for key in [key for key in self._cache if key[-1] == drop]:
      del self._cache[key]

  def score(
    self, names: Sequence[str], body: Body, rows: str
  ) -> dict[str, float]:
    """Returns {model: primary metric of the body with its head}."""
    return {name: self.tasks[name].value(body, rows) for name in names}


def grid(
  settings: Settings, count: int, grids: Mapping[str, Sequence] | None = None
) -> list[Settings]:
  """Returns the settings of a method's grid.

  Args:
    settings: method, and the fields that the grid doesn't vary.
    count: number of models.
    grids: {field: values}; default GRIDS.
  """
  chosen = dict(GRIDS[settings.method] if grids is None else grids)
  if 'coefficients' in chosen and count == 2:
    chosen['coefficients'] = [(c, 1 - c) for c in chosen['coefficients']]
  elif 'coefficients' in chosen:
    chosen['coefficients'] = [None]
  points = itertools.product(*chosen.values())
  return [
    dataclasses.replace(settings, **dict(zip(chosen, point, strict=True)))
    for point in points
  ]


def search(
  bench: Bench,
  names: Sequence[str],
  trials: Sequence[Settings],
  rates: Sequence[float] = RATES,
  drop: Drop | None = None,
  score: Callable | None = None,
) -> tuple[list[tuple[Settings, dict]], Settings, Settings | None]:
  """Scores every trial on the rows for selection.

  Args:
    bench: models and tasks.
    names: of the models that are merged.
    trials: without dropping.
    rates: of DARE on top of the best trial; none without a base.
    drop: kind, target and seed of dropping; default DARE with seed 0.
    score: (settings) -> {model: score} in place of merging and scoring here,
      for a caller that keeps scores.

  Returns:
    [(settings, {model: score})] in the order of the trials, the best settings,
    and the best ones with dropping (None if there were no rates). The mean over
    the models decides; the earlier trial wins a tie.
  """
  if score is None:

    def score(s):
      return bench.score(names, bench.merged(names, s), 'select')

  rows = [(trial, score(trial)) for trial in trials]
  best = max(rows, key=lambda row: mean(row[1]))[0]
  if bench.base is None or not rates:
    return rows, best, None
  drop = drop or Drop(0.0)
  more = []
  for rate in rates:
    trial = dataclasses.replace(best, drop=dataclasses.replace(drop, rate=rate))
    more.append((trial, score(trial)))
  with_drop = max(more, key=lambda row: mean(row[1]))[0]
  return rows + more, best, with_drop


def select(
  group: Group,
  tasks: Sequence[TaskModel],
  settings: Settings,
  grids: Mapping[str, Sequence],
  rates: Sequence[float],
  drop: Drop,
  out: str | os.PathLike,
) -> tuple[Settings, dict[str, Any]]:
  """Searches, prints and writes the table, and scores the winner.

  Args:
    group, tasks: models and their tasks.
    settings: method, and the fields that the grid doesn't vary.
    grids: {field: values}.
    rates: of dropping, tried on top of the best; none without a base.
    drop: kind, target and seed of dropping.
    out: gets `search.csv`.

  Returns:
    the settings that were best on the held-out rows, and their metrics on the
    development rows by model.
  """
  bench = Bench(group.base, tasks, group.names)
  names = list(bench.tasks)
  trials = grid(settings, len(names), grids)
  trials = [dataclasses.replace(trial, drop=None) for trial in trials]
  rows, _, _ = search(bench, names, trials, rates, drop)
  winner = max(rows, key=lambda row: mean(row[1]))[0]
  table = [
    {**describe(trial), **scores, 'mean': mean(scores)}
    for trial, scores in rows
  ]
  table.sort(key=lambda row: -row['mean'])
  pathlib.Path(out).mkdir(parents=True, exist_ok=True)
  tables.write_csv(table, pathlib.Path(out) / 'search.csv')
  print(f'primary metrics on held-out training rows:\n{tables.table(table)}\n')
  body = bench.merged(names, winner)
  metrics = {name: bench.tasks[name].score(body, 'report') for name in names}
  print(
    f'the first row on the development rows:\n{tables.metrics_table(metrics)}'
  )
  return winner, metrics


def mean(scores: Mapping[str, float]) -> float:
  """The mean over models."""
  return float(np.mean(list(scores.values())))


def describe(settings: Settings) -> dict[str, Any]:
  """Returns a row's columns: the settings that the method reads."""
  fields = list(GRIDS[settings.method])
  text = ' '.join(f'{f}={_short(getattr(settings, f))}' for f in fields)
  return {
    'method': settings.method,
    'settings': text,
    'drop': settings.drop.rate if settings.drop else None,
  }


def _short(value: Any) -> str:
  if isinstance(value, tuple):
    return '/'.join(f'{v:.2g}' for v in value)
  return '-' if value is None else f'{value:g}'
