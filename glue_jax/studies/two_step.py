"""The two-step protocol: a search on validation data, then k retrainings.

LEPISZCZE (Augustyniak et al. 2022, arXiv 2211.13112): hyper-parameters are
searched for each (encoder, task) by the validation score, the best ones are
trained again with k seeds, and mean and sample standard deviation on the test
split are reported. The search never sees the test split; where validation rows
are cut from train, the retrainings have them back. The last checkpoint counts,
not the best.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from glue_jax.config import config as config_lib
from glue_jax.data.tasks import by_name
from glue_jax.data.tasks.lepiszcze import HUB
from glue_jax.data.tasks.task import Task
from glue_jax.reporting import files, tables
from glue_jax.studies import retrains, sweep
from glue_jax.studies.tpe import Study, Trial

# (cell, whether to end it now) -> exit code; None if the sweep was stopped.
RunCell = Callable[[sweep.Cell, Callable[[], bool] | None], int | None]


class Stopped(RuntimeError):
  """The search was told to stop; it goes on when started again."""


def objective(task: Task) -> str:
  """The metric that the search optimises, as the official experiments do.

  Micro-F1 of chunks for sequence labelling (its tables report macro-F1), the
  task's first metric for all else.
  """
  if task.kind == 'token_classification' and 'micro_f1' in task.metrics:
    return 'micro_f1'
  return task.metrics[0]


class Protocol:
  """The two steps of one config, in one folder.

  Args:
    config: of the search, as a config file returns it.
    workdir: folder of the sweep.
    base: what all runs share, see `sweep.folder_name`.
    run: runs one cell below `workdir`.
    split: the one that the search looks at.
  """

  def __init__(
    self,
    config: Any,
    workdir: pathlib.Path,
    base: str,
    run: RunCell,
    split: str = 'validation',
  ):
    self.config = config_lib.complete(config)
    self.task = by_name.make(**config_lib.plain(self.config.task))
    self.direction = self.task.direction
    self._workdir, self._base, self._run = workdir, base, run
    self._split = split

  def search(
    self, study: Study, count: int, metric: str | None = None
  ) -> Trial:
    """Runs trials until there are `count`; returns the best.

    Args:
      study: a new one; trials recorded in trials.jsonl are replayed.
      count: trials in all.
      metric: what the study optimises; None = `objective` of the task.

    Raises:
      ValueError: the records are those of another search, the metric isn't
        measured, or no trial finished.
      Stopped: the sweep was stopped.
    """
    metric = metric or objective(self.task)
    if metric not in self.task.metrics:
      raise ValueError(
        f'--objective={metric}: {self.task.name} measures {self.task.metrics}'
      )
    path = self._workdir / 'trials.jsonl'
    records = files.read_lines(path) if path.is_file() else []
    for record in records[:count]:
      study.replay(record)
    while len(study.trials) < count:
      trial = self._trial(study, f'{self._split}/{metric}')
      files.append_line(path, dataclasses.asdict(trial))
    rows = trial_rows(study, self.direction)
    print(tables.table(rows))
    tables.write_csv(rows, self._workdir / 'sweep.csv')
    best = study.best()
    print(f'best: trial {best.number}, {self._split}/{metric} {best.value:.4f}')
    return best

  def _trial(self, study: Study, metric: str) -> Trial:
    trial = study.ask()
    overrides = (
      *trial.overrides.items(),
      ('data.eval_splits', repr((self._split,))),  # never the test split
      ('seeds', repr(tuple(self.config.seeds[:1]))),
    )
    name = sweep.folder_name(self._base, overrides)
    sweep.check_free(self._workdir / name)
    watch = _Watch(study, self._workdir / name / 'metrics.jsonl', metric)
    code = self._run(sweep.Cell(trial.number, overrides, name), watch)
    if code is None:
      raise Stopped(f'stopped in trial {trial.number}')
    if code and not watch.pruned:
      return study.tell('failed')
    if watch():  # with the evaluations that ended after the last look
      return study.tell('pruned')
    return study.tell('complete', watch.value())

  def retrain(
    self, best: Trial, count: int, split: str, model: str | None = None
  ) -> int:
    """Trains the best point again, scores the runs, writes a submission.

    Args:
      best: the search's result.
      count: runs, with seeds 0 to count - 1.
      split: the one they are scored on.
      model: the encoder's public name; None = what the config says.

    Returns:
      The exit code: 1 if a run failed.

    Raises:
      ValueError: the split has no labels, or the task no classes.
      Stopped: the sweep was stopped.
    """
    cells = retrain_cells(best, self.task, split, count, self._base)
    for cell in cells:
      if sweep.is_done(self._workdir / cell.name):
        continue
      sweep.check_free(self._workdir / cell.name)
      code = self._run(cell, lambda: False)
      if code is None:
        raise Stopped(f'stopped in run {cell.index} of {count}')
      if code:
        return 1
    self.report(best, [cell.name for cell in cells], split, model)
    return 0

  def report(
    self, best: Trial, names: Sequence[str], split: str, model: str | None
  ) -> dict[str, Any]:
    """Prints the table of finished runs and writes their submission.

    Args:
      best: the point they share.
      names: their folders below the workdir.
      split, model: as in `retrain`.
    """
    rows = {
      name: retrains.read_predictions(self._workdir / name, split)
      for name in names
    }
    runs = [
      retrains.scores(self.task, seed_rows) for seed_rows in rows.values()
    ]
    print(tables.results_table(retrains.table(self.task.name, runs)))
    section = self.config.model
    named = section.get('weights') or section.get('name')
    content = retrains.submission(
      self.task,
      model or named,
      runs,
      hparams=best.overrides,
      config=config_lib.plain(self.config),
      dataset=HUB.get(self.task.name, ''),
    )
    path = retrains.write_submission(content, rows, self._workdir)
    print(f'written to {path}')
    return content


class _Watch:
  """Reports a running trial's evaluations; called again and again."""

  def __init__(self, study: Study, path: pathlib.Path, metric: str):
    self._study, self._path, self._metric = study, path, metric
    self._step = 0
    self.pruned = False

  def __call__(self) -> bool:
    """Whether the trial should end, by all evaluations so far, in order."""
    for step, value in self._evaluations():
      if not self.pruned and step > self._step:
        self._step = step
        self.pruned = self._study.report(value)
    return self.pruned

  def value(self) -> float:
    """The last evaluation's value.

    Raises:
      ValueError: there is none: the runs do not measure the metric.
    """
    reports = self._study.trials[-1].reports
    if not reports:
      raise ValueError(
        f'{self._path} has no {self._metric!r}: evaluate that split, and name '
        'that metric in the task'
      )
    return reports[-1][1]

  def _evaluations(self) -> Iterator[tuple[int, float]]:
    if not self._path.is_file():
      return
    for line in self._path.read_text().splitlines():
      try:
        record = json.loads(line)
      except ValueError:
        return  # is being written
      if record.get(self._metric) is not None:  # null is not a number
        yield record['step'], record[self._metric]


def retrain_overrides(task: Task, split: str) -> tuple[tuple[str, str], ...]:
  """What changes from the search to the retrainings.

  Args:
    task: the task's record.
    split: the split that is scored.

  Returns:
    ((config field, value as typed), ...).
  """
  kept = [s for s in task.eval_splits if s not in task.cuts and s != split]
  changes = [('data.eval_splits', repr((*kept, split)))]
  given_back = tuple(s for s in task.cuts if s != split)
  if given_back:
    changes.append(('task.given_back', repr(given_back)))
  if not kept:  # nothing is left to stop by
    changes.append(('train.patience', '0'))
  return tuple(changes)


def retrain_cells(
  best: Trial, task: Task, split: str, count: int, base: str
) -> list[sweep.Cell]:
  """Returns one cell for each of the seeds 0 to count - 1."""
  shared = (*best.overrides.items(), *retrain_overrides(task, split))
  return [
    sweep.Cell(seed, overrides, f'retrain_{sweep.folder_name(base, overrides)}')
    for seed in range(count)
    for overrides in [(*shared, ('seeds', f'({seed},)'))]
  ]


def trial_rows(study: Study, direction: str) -> list[dict[str, Any]]:
  """One row a trial, best first; `direction` is that of their value."""
  rows = [
    {'trial': t.number, 'state': t.state, **t.overrides}
    | {'evaluations': len(t.reports), 'value': t.value, 'direction': direction}
    for t in study.trials
  ]
  return sweep.rank(rows)
