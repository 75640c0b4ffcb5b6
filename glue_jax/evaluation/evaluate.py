"""Predicts a split and scores it, each example counted once.

The steps: gather the rows of every batch (`gather`), decode them to label names
in the split's order (`decode`), score them on the host. Metrics are therefore
the same on any number of devices.

Every value is a fraction (0 to 1), also the SQuAD scores that their official
scripts print in per cent, so that one table may hold all tasks.
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from glue_jax.data.table import Table
from glue_jax.data.tasks.task import CORPUS_KINDS, Task
from glue_jax.evaluation import answers
from glue_jax.evaluation.decode import decode, first_tokens, log_softmax
from glue_jax.evaluation.gather import PredictFn, gather
from glue_jax.evaluation.predictions import Predictions, named
from glue_jax.metrics import scores, sequence


def evaluate(
  predict_fn: PredictFn, batches: Any, task: Task, table: Table | None
) -> tuple[dict[str, float], Predictions | None]:
  """Predicts a labelled split and scores it.

  Args:
    predict_fn: batch -> arrays with one row an example: 'logits', or
      'start_logits' and 'end_logits', or for language modeling 'loss_sum' and
      'loss_count' (and 'correct') in (B,). Beside them any pair `<name>_sum`,
      `<name>_count` in (B,): a metric of that name, the sum of all rows over
      their count. Where it was given a global batch, it returns global arrays.
    batches: an `EvalBatches` (glue_jax/data/batching.py).
    task: the task's record.
    table: the split's rows; None for language modeling.

  Returns:
    ({name: value} with the task's primary metric first, predictions or None
    for language modeling).

  Raises:
    ValueError: the split has no labels, or a sum lacks its count.
    RuntimeError: examples were lost or counted twice.
  """
  if task.kind in CORPUS_KINDS:
    return _language_modeling(gather(predict_fn, batches), task), None
  if not table.labelled:
    table.labels()  # raises, before any work
  predictions = predict(predict_fn, batches, task, table)
  metrics = score(predictions, table)
  own = ratios(predictions.outputs)
  clash = sorted(own.keys() & metrics.keys())
  if clash:
    raise ValueError(f'{task.name} has metrics {clash} of its own; rename them')
  return metrics | own, predictions


def predict(
  predict_fn: PredictFn, batches: Any, task: Task, table: Table
) -> Predictions:
  """Predicts a split, labelled or not; arguments as in `evaluate`."""
  keep = ('word_ids',) if task.kind == 'token_classification' else ()
  outputs = gather(predict_fn, batches, keep)
  predictions = Predictions(
    task, table.split, [row['idx'] for row in table.rows], [], outputs=outputs
  )
  decode(predictions, outputs, batches.examples, table)
  if len(predictions.values) != len(table):
    raise RuntimeError(
      f'{task.name}/{table.split}: {len(predictions.values)} predictions for '
      f'{len(table)} rows'
    )
  if task.candidates:
    predictions.extra['candidate'] = [row['candidate'] for row in table.rows]
  if table.labelled and task.kind != 'span':
    predictions.labels = table.labels()
    if task.kind == 'multilabel':
      predictions.labels = [row['label'] for row in table.rows]
  return predictions


def ratios(outputs: Mapping[str, Any]) -> dict[str, float]:
  """Returns {name: sum / count} of pairs `<name>_sum`, `<name>_count`.

  One that nothing was counted of is left out.

  Args:
    outputs: arrays with one number a row.

  Raises:
    ValueError: a sum lacks its count.
  """
  values = {}
  for key in outputs:
    name = key.removesuffix('_sum')
    if name == key:
      continue
    if f'{name}_count' not in outputs:
      raise ValueError(f"the prediction {key!r} lacks its '{name}_count'")
    total, count = (
      float(np.sum(outputs[f'{name}_{part}'], dtype=np.float64))
      for part in ('sum', 'count')
    )
    if count:
      values[name] = total / count
  return values


def score(predictions: Predictions, table: Table) -> dict[str, float]:
  """Scores decoded predictions against the table's labels, primary first."""
  task = predictions.task
  if task.kind == 'span':
    return answers.spans(predictions, table)
  if task.form == 'generation':
    return answers.written(predictions, table)
  values, labels = predictions.values, table.labels()
  if task.kind == 'multilabel':
    return answers.sets(predictions, labels)
  if task.kind == 'token_classification':
    return _tag_scores(predictions, labels)
  if task.candidates:
    result = answers.candidates(predictions, table)
  else:
    result = scores.compute(task.metrics, values, labels, table.groups())
  if task.kind == 'regression':
    result['loss'] = scores.mean_squared_error(values, labels)
  elif predictions.probabilities is not None:
    logits = log_softmax(predictions.outputs['logits'])
    # 0 - x: the loss of a model that is sure is 0, not -0.
    right = logits[np.arange(len(labels)), labels]
    result['loss'] = float(0 - np.mean(right))
  return result


def primary_record(
  task: Task, metrics: Mapping[str, Mapping[str, float]]
) -> dict[str, Any] | None:
  """The number that selects models: the task's first metric.

  With several labelled evaluation splits (MNLI's two) it is their mean, as on
  the GLUE board.

  Args:
    task: the task's record.
    metrics: {split: {metric: value}}.

  Returns:
    {'metric', 'direction', 'splits', 'value'}, None if nothing was measured.
  """
  if not task.metrics:
    return None
  name = task.metrics[0]
  values = {split: m[name] for split, m in metrics.items() if name in m}
  if not values:
    return None
  return {
    'metric': name,
    'direction': task.direction,
    'splits': list(values),
    'value': float(np.mean(list(values.values()))),
  }


def primary(
  task: Task, metrics: Mapping[str, Mapping[str, float]]
) -> float | None:
  """The value of `primary_record`."""
  record = primary_record(task, metrics)
  return None if record is None else record['value']


def _tag_scores(predictions: Predictions, labels) -> dict[str, float]:
  """Scores of chunks; a word beyond the maximal length has no tag."""
  task = predictions.task
  tags, gold_tags = (
    [named(row, task.labels) for row in rows]
    for rows in (predictions.values, labels)
  )
  metrics = sequence.sequence_scores(tags, gold_tags, task.seq_mode)
  result = answers.chosen(task, metrics)
  losses = []
  for gold, logits, words in zip(
    labels, predictions.outputs['logits'], predictions.outputs['word_ids']
  ):
    at, first = first_tokens(words)
    logs = log_softmax(np.asarray(logits)[first])
    losses.append(0 - logs[np.arange(len(at)), np.asarray(gold)[at]])
  return result | {'loss': float(np.concatenate(losses).mean())}


def check_corpus(task: Task, outputs: Collection[str]) -> None:
  """Refuses an objective that doesn't measure what a corpus is scored by.

  Args:
    task: the record of a corpus.
    outputs: names of what the objective predicts.

  Raises:
    ValueError: a metric of the task can't be made of them.
  """
  made = {n.removesuffix('_sum') for n in outputs if n.endswith('_sum')}
  if 'loss' in made:
    made |= {'perplexity'}
  if 'correct' in outputs:
    made |= {'accuracy'}
  if 'structure_correct' in outputs:
    made |= {'structure_accuracy'}
  if lacking := [name for name in task.metrics if name not in made]:
    raise ValueError(
      f'{task.name} with task.kind={task.kind!r} is scored by {lacking}, which '
      f'config.objective does not measure; it gives {sorted(made)}. Take an '
      "objective of that kind, or task.kind='language_modeling'"
    )


def _language_modeling(outputs, task: Task) -> dict[str, float]:
  check_corpus(task, outputs)
  total = float(np.sum(outputs['loss_sum'], dtype=np.float64))
  count = float(np.sum(outputs['loss_count'], dtype=np.float64))
  metrics = {
    'perplexity': scores.perplexity(total, count),
    **ratios(outputs),
  }
  if 'correct' in outputs:
    correct = np.sum(outputs['correct'], dtype=np.float64)
    metrics['accuracy'] = float(correct / count)
  if 'structure_correct' in outputs:
    right = np.sum(outputs['structure_correct'], dtype=np.float64)
    pairs = np.sum(outputs['structure_count'], dtype=np.float64)
    metrics['structure_accuracy'] = float(right / pairs)
  return {
    name: metrics[name] for name in {**dict.fromkeys(task.metrics), **metrics}
  }
