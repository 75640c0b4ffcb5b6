"""Decisions of a finished run: tuned on a split, kept in its folder."""

import dataclasses
import os
import pathlib

import numpy as np

from glue_jax.evaluation import decisions, evaluate
from glue_jax.inference import open_run
from glue_jax.metrics import calibration
from glue_jax.reporting import files, reliability

PICTURE = 'reliability.png'


def calibrate(
  workdir: str | os.PathLike,
  split: str | None = None,
  which: str | None = None,
  thresholds: bool | None = None,
  temperature: bool | None = None,
  metric: str | None = None,
  data_dir: str | None = None,
  batch_size: int | None = None,
) -> tuple[decisions.Decisions, str]:
  """Tunes a run's decisions and writes them into its folder.

  `model/decisions.json`, which every later prediction and evaluation of that
  checkpoint uses, and `reliability.png`; what was there before is replaced.
  `result.json` stays as it is.

  Args:
    workdir: folder of one run.
    split: with labels; None = the task's first evaluation split.
    which: checkpoint; None = the one that the config selects.
    thresholds, temperature, metric: see `decisions.tune`.
    data_dir: data folder, if not that of the run.
    batch_size: rows of a batch; None = the run's own.

  Returns:
    (the decisions, one line about them).

  Raises:
    ValueError: see `decisions.tune` and `open_run.open_run`.
  """
  splits = None if split is None else (split,)
  run = open_run.open_run(
    workdir, which, splits=splits, data_dir=data_dir, batch_size=batch_size
  )
  decisions.check(run.task, thresholds)
  if not run.bundle.evals:
    raise ValueError(
      f'task {run.task.name} has no evaluation split; name one with --split'
    )
  split = next(iter(run.bundle.evals))
  table = run.bundle.tables[split]
  untuned, found = evaluate.evaluate(
    run.predict_fn, run.bundle.evals[split], run.task, table
  )
  tuned = decisions.tune(found, thresholds, temperature, metric)
  scores = evaluate.score(decisions.decided(tuned, found), table)
  tuned = dataclasses.replace(
    tuned,
    step=run.step,
    scores={'untuned': untuned, 'tuned': scores},
    notes=(*tuned.notes, tuned.optimistic()),
  )
  folder = pathlib.Path(run.workdir)
  tuned.save(folder / 'model')
  if files.is_first_process():
    logits = np.asarray(found.outputs['logits'], np.float64)
    labels = decisions.gold(found)
    several = labels.ndim == 2
    by_bins = calibration.set_bins if several else calibration.class_bins
    reliability.plot(
      {
        'before': by_bins(logits, labels),
        f'T = {tuned.temperature:.3g}': by_bins(
          logits / tuned.temperature, labels
        ),
      },
      folder / PICTURE,
      f'{run.task.name}, {split} ({len(table)} examples)',
      'labels that are there' if several else 'predictions that are right',
    )
  return tuned, tuned.said(run.task)
