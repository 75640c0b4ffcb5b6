"""What a task's score is worth: simple predictors without an encoder.

majority      the most frequent class of train, or tag (each word alike)
bag of words  TF-IDF of words and word pairs, logistic regression; the texts
              of a pair are separate features
own tag       each word's most frequent tag in train, majority if unseen
"""

import collections
from collections.abc import Callable

import numpy as np

from glue_jax.data.table import Table
from glue_jax.metrics import sequence
from glue_jax.metrics.scores import compute


def scores(train: Table, table: Table) -> dict[str, dict[str, float]]:
  """Scores of each baseline that fits the task.

  Args:
    train: what the baselines learn from.
    table: labelled rows that are predicted.

  Returns:
    {baseline: {metric of the task: value}}.

  Raises:
    ValueError: the task is neither classification nor sequence labelling, or
      labels are hidden.
  """
  task = table.task
  if task.kind not in ('classification', 'token_classification'):
    raise ValueError(
      f'{task.name}: no baseline for a {task.kind} task; there are some for '
      'classification and sequence labelling'
    )
  scored = {}
  for name, predict in BASELINES[task.kind].items():
    predictions, labels = predict(train, table), table.labels()
    if task.kind == 'classification':
      scored[name] = compute(task.metrics, predictions, labels)
      continue
    every = sequence.sequence_scores(
      predictions, [task.label_names(row) for row in labels], task.seq_mode
    )
    scored[name] = {metric: every[metric] for metric in task.metrics}
  return scored


def _majority(train: Table, table: Table) -> np.ndarray:
  return np.full(len(table), np.bincount(train.labels()).argmax())


def _bag_of_words(train: Table, table: Table) -> np.ndarray:
  from scipy import sparse
  from sklearn.feature_extraction.text import TfidfVectorizer
  from sklearn.linear_model import LogisticRegression

  ours, theirs = [], []
  for column in table.task.columns:
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    ours.append(vectors.fit_transform(row[column] for row in train.rows))
    theirs.append(vectors.transform(row[column] for row in table.rows))
  model = LogisticRegression(C=10.0, max_iter=1000)
  model.fit(sparse.hstack(ours), train.labels())
  return model.predict(sparse.hstack(theirs))


def _majority_tag(train: Table, table: Table) -> list[list[str]]:
  task = table.task
  ids = collections.Counter(tag for row in train.labels() for tag in row)
  name = task.labels[ids.most_common(1)[0][0]]
  return [[name] * len(row[task.columns[0]]) for row in table.rows]


def _own_tag(train: Table, table: Table) -> list[list[str]]:
  task = table.task
  column = task.columns[0]
  counts = collections.defaultdict(collections.Counter)
  for row in train.rows:
    for word, tag in zip(row[column], row['label']):
      counts[word][task.labels[tag]] += 1
  most = {word: tally.most_common(1)[0][0] for word, tally in counts.items()}
  default = _majority_tag(train, table)
  return [
    [most.get(word, other) for word, other in zip(row[column], tags)]
    for row, tags in zip(table.rows, default)
  ]


BASELINES: dict[str, dict[str, Callable]] = {
  'classification': {'majority': _majority, 'bag of words': _bag_of_words},
  'token_classification': {'majority': _majority_tag, 'own tag': _own_tag},
}
