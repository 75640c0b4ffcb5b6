"""Predictions of a split and their scores, each example counted once.

The steps: run the compiled prediction on every batch, gather the rows of all
processes, drop padding rows by their weight, check that exactly the split's
examples are left, sort them into the split's order, decode them to label names,
score them on the host. Metrics are therefore the same on any number of devices.

Every value is a fraction (0 to 1), also the SQuAD scores that their official
scripts print in per cent, so that one table may hold all tasks.
"""

import collections
import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from glue_jax.data.load import Table
from glue_jax.data.tasks.task import CORPUS_KINDS, Task
from glue_jax.evaluation import answers as evaluate_scores
from glue_jax.metrics import scores as metrics_lib
from glue_jax.metrics import sequence
from glue_jax.reporting import files

PredictFn = Callable[[Mapping[str, np.ndarray]], Mapping[str, Any]]

# Batches whose results may be on the device while the host waits for the first.
_IN_FLIGHT = 4


@dataclasses.dataclass
class Predictions:
  """Decoded predictions of one split, in the order of its rows.

  Attributes:
    task: the task's record.
    split: its name.
    idx: each row's id in the source.
    values: class ids (n,) int, numbers (n,) float, or a list of n texts or of
      n lists of tag ids (-1 = the word lies beyond the maximal length).
    probabilities: (n, C) for classes and choices, else None.
    labels: gold values as `values`; None for texts and where labels are hidden.
    extra: further fields of the written records, n values each.
    outputs: what the model gave, (n, ...) arrays or lists of n arrays.
  """

  task: Task
  split: str
  idx: list
  values: np.ndarray | list
  probabilities: np.ndarray | None = None
  labels: np.ndarray | list | None = None
  extra: dict[str, list] = dataclasses.field(default_factory=dict)
  outputs: dict[str, Any] = dataclasses.field(default_factory=dict)

  def __len__(self) -> int:
    return len(self.idx)

  def records(self) -> Iterator[dict]:
    """One JSON-able record a row, with label names instead of ids."""
    names = class_names(self.task)
    for i, idx in enumerate(self.idx):
      record = {'idx': idx, 'prediction': _named(self.values[i], names)}
      if self.labels is not None:
        record['label'] = _named(self.labels[i], names)
      if self.probabilities is not None:
        row = self.probabilities[i].tolist()
        record['probabilities'] = dict(zip(names, row))
      yield record | {key: column[i] for key, column in self.extra.items()}

  def save(self, path: str | os.PathLike) -> None:
    """Writes the records as JSON lines, on process 0."""
    if files.is_first_process():
      lines = (json.dumps(record) + '\n' for record in self.records())
      files.replace_text(path, ''.join(lines))


def class_names(task: Task) -> tuple[str, ...]:
  """Names of the classes or choices in id order."""
  return task.labels or task.choices


def evaluate(
  predict_fn: PredictFn, batches: Any, task: Task, table: Table | None
) -> tuple[dict[str, float], Predictions | None]:
  """Predicts a labelled split and scores it.

  Args:
    predict_fn: batch -> arrays with one row an example: 'logits', or
      'start_logits' and 'end_logits', or for language modeling 'loss_sum' and
      'loss_count' (and 'correct') in (B,). Where it was given a global batch,
      it returns global arrays.
    batches: an `EvalBatches` (glue_jax/data/batching.py).
    task: the task's record.
    table: the split's rows; None for language modeling.

  Returns:
    ({name: value} with the task's primary metric first, predictions or None
    for language modeling).

  Raises:
    ValueError: the split has no labels.
    RuntimeError: examples were lost or counted twice.
  """
  if task.kind in CORPUS_KINDS:
    return _language_modeling(gather(predict_fn, batches), task), None
  if not table.labelled:
    table.labels()  # raises, before any work
  predictions = predict(predict_fn, batches, task, table)
  return score(predictions, table), predictions


def predict(
  predict_fn: PredictFn, batches: Any, task: Task, table: Table
) -> Predictions:
  """Predicts a split, labelled or not; arguments as in `evaluate`."""
  keep = ('word_ids',) if task.kind == 'token_classification' else ()
  outputs = gather(predict_fn, batches, keep)
  predictions = Predictions(
    task, table.split, [row['idx'] for row in table.rows], [], outputs=outputs
  )
  decode = _DECODERS[task.kind]
  decode(predictions, outputs, batches.examples, table)
  if len(predictions.values) != len(table):
    raise RuntimeError(
      f'{task.name}/{table.split}: {len(predictions.values)} predictions for '
      f'{len(table)} rows'
    )
  if table.labelled and task.kind != 'span':
    predictions.labels = table.labels()
    if task.kind == 'multilabel':
      predictions.labels = [row['label'] for row in table.rows]
  return predictions


def gather(
  predict_fn: PredictFn, batches: Any, keep: Sequence[str] = ()
) -> dict[str, Any]:
  """Runs all batches and returns their rows sorted by idx, padding dropped.

  Args:
    predict_fn, batches: as in `evaluate`.
    keep: fields of the batch to return as well.

  Returns:
    {'idx': (n,), name: (n, ...) array, or a list of n arrays where the batches
    had different shapes}.

  Raises:
    RuntimeError: the rows are not exactly `batches.num_examples` examples.
  """
  columns: dict[str, list[np.ndarray]] = collections.defaultdict(list)
  waiting: collections.deque = collections.deque()

  def fetch():
    rows = _to_host(waiting.popleft())
    real = rows.pop('weight') > 0
    for name, value in rows.items():
      columns[name].append(value[real])

  for batch in batches:
    fields = {name: batch[name] for name in ('idx', 'weight', *keep)}
    waiting.append(fields | dict(predict_fn(batch)))
    if len(waiting) >= _IN_FLIGHT:
      fetch()
  while waiting:
    fetch()
  if not columns:
    raise RuntimeError('evaluation got no batches; expected at least one')
  _check_counts(np.concatenate(columns['idx']), batches.num_examples)
  order = np.argsort(np.concatenate(columns['idx']), kind='stable')
  return {name: _in_order(parts, order) for name, parts in columns.items()}


def score(predictions: Predictions, table: Table) -> dict[str, float]:
  """Scores decoded predictions against the table's labels, primary first."""
  task = predictions.task
  if task.kind == 'span':
    return evaluate_scores.spans(predictions, table)
  values, labels = predictions.values, table.labels()
  if task.kind == 'multilabel':
    return evaluate_scores.sets(predictions, labels)
  if task.kind == 'token_classification':
    return _tag_scores(predictions, labels)
  if task.candidates:
    result = evaluate_scores.candidates(predictions, table)
  else:
    result = metrics_lib.compute(task.metrics, values, labels, table.groups())
  if task.kind == 'regression':
    result['loss'] = metrics_lib.mean_squared_error(values, labels)
  elif predictions.probabilities is not None:
    logits = _log_softmax(predictions.outputs['logits'])
    result['loss'] = float(-np.mean(logits[np.arange(len(labels)), labels]))
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
  found = {split: m[name] for split, m in metrics.items() if name in m}
  if not found:
    return None
  return {
    'metric': name,
    'direction': task.direction,
    'splits': list(found),
    'value': float(np.mean(list(found.values()))),
  }


def primary(
  task: Task, metrics: Mapping[str, Mapping[str, float]]
) -> float | None:
  """The value of `primary_record`."""
  record = primary_record(task, metrics)
  return record and record['value']


def _to_host(rows: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """All processes' rows; global arrays come back whole, local ones joined."""
  if jax.process_count() == 1:
    return {k: np.asarray(v) for k, v in jax.device_get(dict(rows)).items()}
  from jax.experimental import multihost_utils

  return {
    name: np.asarray(multihost_utils.process_allgather(value, tiled=True))
    for name, value in sorted(rows.items())
  }


def _check_counts(idx: np.ndarray, expected: int) -> None:
  distinct = len(np.unique(idx))
  if len(idx) == expected == distinct:
    return
  raise RuntimeError(
    f'evaluation returned {len(idx)} rows, {distinct} of them distinct; the '
    f'split has {expected} examples. Every process must get its own slice of '
    'every batch, and padding rows must have weight 0'
  )


def _in_order(parts: list[np.ndarray], order: np.ndarray):
  if len({part.shape[1:] for part in parts}) == 1:
    return np.concatenate(parts)[order]
  rows = [row for part in parts for row in part]
  return [rows[i] for i in order]


def _classes(predictions, outputs, examples, table) -> None:
  del examples, table
  logits = np.asarray(outputs['logits'], np.float64)
  predictions.values = logits.argmax(-1)
  predictions.probabilities = np.exp(_log_softmax(logits))


def _sets(predictions, outputs, examples, table) -> None:
  """Every class with a probability above a half."""
  del examples, table
  logits = np.asarray(outputs['logits'], np.float64)
  predictions.values = [np.flatnonzero(row > 0).tolist() for row in logits]
  predictions.probabilities = 1 / (1 + np.exp(-logits))


def _numbers(predictions, outputs, examples, table) -> None:
  del examples
  logits = np.asarray(outputs['logits'], np.float64)
  predictions.values = logits.reshape(len(table))


def _tags(predictions, outputs, examples, table) -> None:
  """One tag a word, from its first token; -1 where there is none."""
  del examples
  column = predictions.task.columns[0]
  for row, logits, words in zip(
    table.rows, outputs['logits'], outputs['word_ids']
  ):
    at, first = _first_tokens(words)
    tags = np.full(len(row[column]), -1)
    tags[at] = np.asarray(logits)[first].argmax(-1)
    predictions.values.append(tags.tolist())


def _texts(predictions, outputs, examples, table) -> None:
  from glue_jax.evaluation import spans

  answers = spans.postprocess(
    table, examples, outputs['start_logits'], outputs['end_logits']
  )
  ids = [row['id'] for row in table.rows]
  predictions.values = [answers.predictions[key] for key in ids]
  predictions.extra['id'] = ids
  if predictions.task.unanswerable:
    # Infinite where no span was possible; JSON has no word for that.
    odds = np.clip([answers.null_odds[key] for key in ids], -1e30, 1e30)
    predictions.extra['null_odds'] = odds.tolist()


_DECODERS = {
  'classification': _classes,
  'multilabel': _sets,
  'multiple_choice': _classes,
  'regression': _numbers,
  'token_classification': _tags,
  'span': _texts,
}


def _tag_scores(predictions: Predictions, labels) -> dict[str, float]:
  """Scores of chunks; a word beyond the maximal length has no tag."""
  task = predictions.task
  names = lambda rows: [_named(row, task.labels) for row in rows]
  found = sequence.sequence_scores(
    names(predictions.values), names(labels), task.seq_mode
  )
  result = evaluate_scores.chosen(task, found)
  losses = []
  for gold, logits, words in zip(
    labels, predictions.outputs['logits'], predictions.outputs['word_ids']
  ):
    at, first = _first_tokens(words)
    scores = _log_softmax(np.asarray(logits)[first])
    losses.append(-scores[np.arange(len(at)), np.asarray(gold)[at]])
  return result | {'loss': float(np.concatenate(losses).mean())}


def _first_tokens(words) -> tuple[np.ndarray, np.ndarray]:
  """(words, the position of each one's first token)."""
  words = np.asarray(words)
  first = (words >= 0) & (words != np.concatenate([[-1], words[:-1]]))
  return words[first], np.flatnonzero(first)


def _language_modeling(outputs, task: Task) -> dict[str, float]:
  total = float(np.sum(outputs['loss_sum'], dtype=np.float64))
  count = float(np.sum(outputs['loss_count'], dtype=np.float64))
  found = {
    'perplexity': metrics_lib.perplexity(total, count),
    'loss': total / count,
  }
  if 'correct' in outputs:
    correct = np.sum(outputs['correct'], dtype=np.float64)
    found['accuracy'] = float(correct / count)
  if 'structure_correct' in outputs:
    right = np.sum(outputs['structure_correct'], dtype=np.float64)
    pairs = np.sum(outputs['structure_count'], dtype=np.float64)
    found['structure_accuracy'] = float(right / pairs)
  unknown = [name for name in task.metrics if name not in found]
  if unknown:
    raise ValueError(
      f'{task.name}: unknown metrics {unknown}; known: {sorted(found)}'
    )
  return {
    name: found[name] for name in {**dict.fromkeys(task.metrics), **found}
  }


def _log_softmax(logits: np.ndarray) -> np.ndarray:
  logits = np.asarray(logits, np.float64)
  logits = logits - logits.max(-1, keepdims=True)
  return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def _named(value: Any, names: tuple[str, ...]) -> Any:
  """A label id, number, text or list of tags as it is written."""
  if isinstance(value, str):
    return value
  if isinstance(value, (list, np.ndarray)):
    return [names[tag] if tag >= 0 else None for tag in value]
  return names[int(value)] if names else float(value)
