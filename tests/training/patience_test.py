"""A run ends when its loss falls no more, and stays ended."""

import pytest

from glue_jax.evaluation.selection import Criterion
from glue_jax.method import Host
from glue_jax.training import patience

LOSS = Criterion('loss', ('validation',), 'min')


def test_evaluations_without_a_lower_loss_are_counted():
  host, hook = Host(None, 1, 9, None), patience.hook(2, LOSS)
  ended = []
  for loss in (3.0, 2.0, 2.5, 1.0, 1.0, 1.5):
    host.metrics = {'validation': {'loss': loss}, 'test': {'loss': 0.0}}
    hook.after_eval(host)
    ended.append(host.stop)
  assert ended == [False] * 5 + [True]
  assert host.memory == {'patience': {'best': 1.0, 'stale': 2}}


def test_a_split_without_a_loss_is_refused():
  host = Host(None, 1, 9, None, metrics={'validation': {'f1': 1.0}})
  with pytest.raises(ValueError, match=r"has {'validation': \['f1'\]}"):
    patience.hook(2, LOSS).after_eval(host)


def test_it_waits_for_the_metric_that_is_asked_for():
  by = Criterion('f1', ('validation',), 'max', given=True)
  host, hook = Host(None, 1, 9, None), patience.hook(2, by)
  # What was noted of another criterion says nothing of this one.
  host.memory = {'patience': {'best': 1.0, 'stale': 1}}
  ended = []
  for f1 in (0.1, 0.4, float('nan'), 0.5, 0.5, 0.2):
    host.metrics = {'validation': {'f1': f1, 'loss': 0.0}}
    hook.after_eval(host)
    ended.append(host.stop)
  assert ended == [False] * 5 + [True]
  assert host.memory['patience'] == {
    'best': 0.5, 'stale': 2, 'by': 'validation/f1'
  }  # fmt: skip
