"""From a model's outputs to predictions, by the kind of task."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glue_jax.data import prompts
from glue_jax.data.table import Table
from glue_jax.evaluation import spans
from glue_jax.evaluation.predictions import Predictions


def decode(
  predictions: Predictions,
  outputs: Mapping[str, Any],
  examples: Any,
  table: Table,
) -> None:
  """Fills in the values, and probabilities where the task has them.

  Args:
    predictions: changed in place.
    outputs: of `gather.gather`, rows in the split's order.
    examples: the split's `Examples`; read for spans.
    table: the split's rows.
  """
  _DECODERS[predictions.task.form](predictions, outputs, examples, table)


def _classes(predictions, outputs, examples, table) -> None:
  del examples, table
  logits = np.asarray(outputs['logits'], np.float64)
  predictions.values = logits.argmax(-1)
  predictions.probabilities = np.exp(log_softmax(logits))


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
    at, first = first_tokens(words)
    tags = np.full(len(row[column]), -1)
    tags[at] = np.asarray(logits)[first].argmax(-1)
    predictions.values.append(tags.tolist())


def _texts(predictions, outputs, examples, table) -> None:
  answers = spans.postprocess(
    table.rows,
    examples,
    outputs['start_logits'],
    outputs['end_logits'],
    unanswerable=table.task.unanswerable,
  )
  ids = [row['id'] for row in table.rows]
  predictions.values = [answers.predictions[key] for key in ids]
  predictions.extra['id'] = ids
  if predictions.task.unanswerable:
    # Infinite where no span was possible; JSON has no word for that.
    odds = np.clip([answers.null_odds[key] for key in ids], -1e30, 1e30)
    predictions.extra['null_odds'] = odds.tolist()


def _written(predictions, outputs, examples, table) -> None:
  """Texts, or the classes that they name; -1 where none can be read."""
  del table
  prompt = predictions.task.prompt
  texts = [examples.tokenizer.decode(row) for row in outputs['tokens']]
  if predictions.task.kind == 'classification':
    predictions.values = np.array([prompts.parse(prompt, t) for t in texts])
    predictions.extra['text'] = texts
    return
  # A text that was not closed in time is what there is of it.
  predictions.values = [prompts.answer(prompt, t) or t.strip() for t in texts]


_DECODERS = {
  'generation': _written,
  'classification': _classes,
  'multilabel': _sets,
  'multiple_choice': _classes,
  'regression': _numbers,
  'token_classification': _tags,
  'span': _texts,
}


def first_tokens(words: Any) -> tuple[np.ndarray, np.ndarray]:
  """The words of a sequence, and the position of each one's first token.

  Args:
    words: (L,) each token's word, -1 for special tokens.
  """
  words = np.asarray(words)
  first = (words >= 0) & (words != np.concatenate([[-1], words[:-1]]))
  return words[first], np.flatnonzero(first)


def log_softmax(logits: np.ndarray) -> np.ndarray:
  """Logarithms of the probabilities over the last axis, in float64."""
  logits = np.asarray(logits, np.float64)
  logits = logits - logits.max(-1, keepdims=True)
  return logits - np.log(np.exp(logits).sum(-1, keepdims=True))
