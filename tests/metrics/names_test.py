"""Metrics that fit a task's kind and number of classes."""

import pytest

from glue_jax.data.tasks import by_name
from glue_jax.metrics import names


def test_f1_is_for_two_classes():
  assert names.fault(['f1'], 'classification', 2) is None
  assert 'macro_f1 or micro_f1' in names.fault(['f1'], 'classification', 3)
  with pytest.raises(ValueError, match='there are 3; use macro_f1'):
    by_name.make('mnli', metrics='f1')


@pytest.mark.parametrize(
  'task, metric',
  [
    ('stsb', 'accuracy'),
    ('squad_v1', 'exact'),
    ('squad_v2', 'exact_match'),
    ('rte', 'acuracy'),
  ],
)
def test_metrics_of_another_kind_are_refused(task, metric):
  with pytest.raises(ValueError, match=f'unknown metric {metric!r}; known are'):
    by_name.make(task, metrics=metric)


def test_every_known_task_has_metrics_that_fit():
  for name in by_name.TASKS:
    by_name.make(name)
