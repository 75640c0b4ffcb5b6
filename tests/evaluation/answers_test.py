"""Scores of candidates (ReCoRD) and of grouped rows (MultiRC, AX-g)."""

import numpy as np
import pytest

from glue_jax.data.table import Table
from glue_jax.data.tasks import by_name
from glue_jax.evaluation import evaluate
from glue_jax.evaluation.predictions import Predictions


def predictions(name, rows, scores):
  """Predictions with the given P(class 1)."""
  task = by_name.get(name)
  table = Table(task, 'validation', rows, 'x', 'jsonl', True)
  right = np.asarray(scores)
  p = np.stack([1 - right, right], -1)
  return Predictions(
    task,
    'validation',
    [row['idx'] for row in rows],
    p.argmax(-1),
    probabilities=p,
    outputs={'logits': np.log(p)},
  ), table


def test_the_most_probable_candidate_of_a_query_is_its_answer():
  rows = [
    {'idx': '0-0-0', 'candidate': 'Ann', 'answers': ['Ann'], 'label': 1},
    {'idx': '0-0-1', 'candidate': 'Bo', 'answers': ['Ann'], 'label': 0},
    {'idx': '0-1-0', 'candidate': 'Bo Lee', 'answers': ['Bo'], 'label': 0},
    {'idx': '0-1-1', 'candidate': 'Bo', 'answers': ['Bo'], 'label': 1},
  ]
  # Below a half, and still the best; wrong, but sharing a word.
  metrics = evaluate.score(*predictions('record', rows, [0.3, 0.2, 0.9, 0.4]))
  assert metrics['exact_match'] == 0.5
  assert metrics['f1'] == pytest.approx((1 + 2 / 3) / 2)
  assert list(metrics)[:2] == ['f1', 'exact_match'] and metrics['loss'] > 0


def test_a_multirc_question_is_right_if_every_answer_is():
  rows = [
    {'idx': f'0-{q}-{a}', 'label': label}
    for q, a, label in ((0, 0, 1), (0, 1, 0), (1, 0, 1), (1, 1, 1))
  ]
  metrics = evaluate.score(*predictions('multirc', rows, [0.9, 0.1, 0.9, 0.2]))
  assert metrics['exact_match'] == 0.5
  assert metrics['f1'] == pytest.approx(0.8)


def test_gender_parity_is_of_pairs():
  rows = [{'idx': f'{i // 2}-{i}', 'label': 1} for i in range(4)]
  metrics = evaluate.score(*predictions('axg', rows, [0.9, 0.9, 0.9, 0.1]))
  assert metrics['gender_parity'] == 0.5 and metrics['accuracy'] == 0.75
