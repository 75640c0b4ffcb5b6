"""Scores of answers that are texts, candidates or sets of labels."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glue_jax.data.table import Table
from glue_jax.data.tasks.task import Task
from glue_jax.metrics import scores, squad, texts


def spans(predictions: Any, table: Table) -> dict[str, float]:
  """Scores of a span task's `predictions.Predictions`, primary first.

  Raises:
    ValueError: a metric that there isn't for answer texts.
  """
  answers = {row['id']: row['answers']['text'] for row in table.rows}
  ids = predictions.extra['id']
  texts = dict(zip(ids, predictions.values))
  if predictions.task.unanswerable:
    odds = dict(zip(ids, predictions.extra['null_odds']))
    # The texts are cut at their threshold already: no second one here.
    metrics = squad.squad_v2(answers, texts, odds, threshold=np.inf)
  else:
    metrics = squad.squad_v1(answers, texts)
  names = predictions.task.metrics
  unknown = [name for name in names if name not in metrics]
  if unknown:
    raise ValueError(
      f'{predictions.task.name}: unknown metrics {unknown}; known for answer '
      f'texts: {sorted(metrics)}'
    )
  ordered = [*names, *(name for name in metrics if name not in names)]
  return {
    name: metrics[name] if name.endswith('_thresh') else metrics[name] / 100
    for name in ordered
    if not name.endswith('total')
  }


def written(predictions: Any, table: Table) -> dict[str, float]:
  """Scores of written texts, or of the classes that they name.

  What names no class is wrong in every metric; `readable` is the share of the
  others.

  Args:
    predictions: `predictions.Predictions`.
    table: the split's rows.
  """
  task, values, labels = predictions.task, predictions.values, table.labels()
  if task.kind == 'generation':
    references = [
      row.get('references', [label]) for row, label in zip(table.rows, labels)
    ]
    return texts.compute(task.metrics, values, references)
  readable = values >= 0
  # Another class than the right one, whichever metric it is.
  wrong = (labels + 1) % len(task.labels)
  values = np.where(readable, values, wrong)
  found = scores.compute(task.metrics, values, labels, table.groups())
  return found | {'readable': float(readable.mean())}


def candidates(predictions: Any, table: Table) -> dict[str, float]:
  """Scores of the most probable candidate of each question, primary first.

  Args:
    predictions: `predictions.Predictions` with probabilities of the rows; the
      last class is that of a right candidate.
    table: rows with `candidate` and `answers`.
  """
  best: dict[str, tuple[float, str]] = {}
  answers = {}
  right = predictions.probabilities[:, -1]
  for row, key, value in zip(table.rows, table.groups(), right):
    answers[key] = row['answers']
    # The first of equal ones.
    if key not in best or value > best[key][0]:
      best[key] = (value, row['candidate'])
  texts = {key: text for key, (_, text) in best.items()}
  metrics = squad.record(answers, texts)
  return {name: metrics[name] for name in predictions.task.metrics}


def sets(predictions: Any, labels: np.ndarray) -> dict[str, float]:
  """Scores of sets of classes; 'macro_f1' is the mean of the classes' F1.

  Args:
    predictions: `predictions.Predictions` with sets as values, and the logits
      (n, C) for the loss.
    labels: (n, C), 0 or 1.
  """
  logits = np.asarray(predictions.outputs['logits'], np.float64)
  chosen_sets = np.zeros(labels.shape, bool)
  for row, ids in zip(chosen_sets, predictions.values):
    row[ids] = True
  metrics = scores.multilabel(chosen_sets, labels)
  losses = np.logaddexp(0, logits) - labels * logits
  return chosen(predictions.task, metrics) | {'loss': float(losses.mean())}


def chosen(task: Task, metrics: Mapping[str, Any]) -> dict[str, float]:
  """Returns the task's metrics out of those found.

  Raises:
    ValueError: one isn't there.
  """
  unknown = [name for name in task.metrics if name not in metrics]
  if unknown:
    known = sorted(metrics.keys() - {'classes', 'class_f1'})
    raise ValueError(f'{task.name}: unknown metrics {unknown}; known: {known}')
  return {name: metrics[name] for name in task.metrics}
