"""Scores of several runs of one recipe: mean, median, sample sd; submissions.

The form of a submission is that of LEPISZCZE's leaderboard (CLARIN-PL/
embeddings, f8339e5). Every number is computed again from the runs' prediction
files, so it can be checked from what is handed in.
"""

import importlib.metadata
import json
import os
import pathlib
import statistics
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from glue_jax.data.tasks.task import Task
from glue_jax.metrics import sequence
from glue_jax.reporting import files

KINDS = ('classification', 'multiple_choice', 'token_classification')


def read_predictions(
  folder: str | os.PathLike, split: str
) -> list[dict[str, Any]]:
  """The records of `predictions/<split>.jsonl` of a finished run.

  Raises:
    ValueError: there are none, or they have no labels.
  """
  path = pathlib.Path(folder) / 'predictions' / f'{split}.jsonl'
  if not path.is_file():
    raise ValueError(f'{path} does not exist: the run did not predict {split}')
  rows = files.read_lines(path)
  if not rows or 'label' not in rows[0]:
    raise ValueError(f'{path} has no labels, so it cannot be scored here')
  return rows


def scores(task: Task, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  """All metrics of one run, under the leaderboard's names.

  Args:
    task: the task's record.
    rows: records with 'prediction' and 'label'.

  Returns:
    accuracy, {f1,precision,recall}_{macro,micro,weighted}, and classes.

  Raises:
    ValueError: the kind has no classes.
  """
  if task.kind not in KINDS:
    raise ValueError(f'{task.name}: a {task.kind} task has no class scores')
  ours = [row['prediction'] for row in rows]
  gold = [row['label'] for row in rows]
  if task.kind == 'token_classification':
    metrics = sequence.sequence_scores(ours, gold, task.seq_mode)
  else:
    metrics = sequence.class_scores(ours, gold)
  result = {'accuracy': metrics['accuracy']}
  for part in reversed(sequence.PARTS):
    for average in ('macro', 'micro', 'weighted'):
      result[f'{part}_{average}'] = metrics[f'{average}_{part}']
  return result | {'classes': metrics['classes']}


def summary(
  runs: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
  """Mean, median and sample standard deviation (n - 1) of every number.

  Args:
    runs: nested dicts of numbers with the same keys; a class that some run
      neither has in gold nor predicts counts 0 there.

  Returns:
    (mean, median, sd), nested in the same way; the sd of one run is 0.
  """
  mean, median, sd = {}, {}, {}
  for key in dict.fromkeys(key for run in runs for key in run):
    values = [run.get(key) for run in runs]
    if any(isinstance(value, Mapping) for value in values):
      parts = summary([value or {} for value in values])
      mean[key], median[key], sd[key] = parts
      continue
    values = [value or 0 for value in values]
    mean[key] = statistics.fmean(values)
    median[key] = statistics.median(values)
    sd[key] = statistics.stdev(values) if len(values) > 1 else 0.0
  return mean, median, sd


def table(name: str, runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
  """One row a metric: mean and sample sd x 100 over the runs."""
  mean, _, sd = summary(runs)
  return [
    {
      'task': name,
      'metric': key,
      'mean x100': 100 * mean[key],
      'sd x100': 100 * sd[key],
      'runs': len(runs),
    }
    for key in mean
    if key != 'classes'
  ]


def submission(
  task: Task,
  model: str,
  runs: Sequence[Mapping[str, Any]],
  *,
  hparams: Mapping[str, Any],
  config: Mapping[str, Any],
  dataset: str = '',
  version: str = '0.0.0',
) -> dict[str, Any]:
  """The content of a submission.

  Args:
    task: the task's record.
    model: name of the encoder; a / becomes __ in the submission's name.
    runs: from `scores`, one a run.
    hparams: what the search found.
    config: the completed config of the runs.
    dataset: its public name; default: the task's.
    version: of the data set.
  """
  mean, median, sd = summary(runs)
  return {
    'submission_name': f'{task.name}_{model.replace("/", "__")}',
    'dataset_name': dataset or task.name,
    'dataset_version': version,
    'embedding_name': model,
    'hparams': dict(hparams),
    'packages': _packages(),
    'leaderboard_task_name': task.kind.replace('_', ' '),
    'metrics': list(runs),
    'metrics_avg': mean,
    'metrics_median': median,
    'metrics_std': sd,
    # Fractions; some published files hold per cent instead.
    'metrics_scale': 1,
    'averaged_over': len(runs),
    'config': dict(config),
  }


def write_submission(
  content: Mapping[str, Any],
  predictions: Mapping[str, Sequence[Mapping[str, Any]]],
  folder: str | os.PathLike,
) -> pathlib.Path:
  """Writes `<name>.json`, and `<name>_predictions.json` in a zip beside it.

  Args:
    content: from `submission`.
    predictions: {run: its records}.
    folder: where to.

  Returns:
    The path of `<name>.json`.
  """
  folder = pathlib.Path(folder)
  name = content['submission_name']
  path = folder / f'{name}.json'
  files.replace_text(path, json.dumps(content, indent=2) + '\n')
  inner = f'{name}_predictions.json'
  with zipfile.ZipFile(
    folder / f'{inner}.zip', 'w', zipfile.ZIP_DEFLATED
  ) as file:
    text = json.dumps({run: list(rows) for run, rows in predictions.items()})
    # A fixed date: equal predictions give equal bytes.
    file.writestr(zipfile.ZipInfo(inner, (1980, 1, 1, 0, 0, 0)), text)
  return path


def _packages() -> list[str]:
  pinned = {
    f'{d.metadata["Name"]}=={d.version}'
    for d in importlib.metadata.distributions()
    if d.metadata['Name']
  }
  return sorted(pinned)
