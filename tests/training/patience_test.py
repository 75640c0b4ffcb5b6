"""A run ends when its loss falls no more, and stays ended."""

import pytest

from glue_jax.method import Host
from glue_jax.training import patience


def test_evaluations_without_a_lower_loss_are_counted():
  host, hook = Host(None, 1, 9, None), patience.hook(2)
  ended = []
  for loss in (3.0, 2.0, 2.5, 1.0, 1.0, 1.5):
    host.metrics = {'validation': {'loss': loss}, 'test': {'loss': 0.0}}
    hook.after_eval(host)
    ended.append(host.stop)
  assert ended == [False] * 5 + [True]
  assert host.memory == {'patience': {'best': 1.0, 'stale': 2}}


def test_a_split_without_a_loss_is_refused():
  host = Host(None, 1, 9, None, metrics={'validation': {'f1': 1.0}})
  with pytest.raises(ValueError, match=r"validation has \['f1'\]"):
    patience.hook(2).after_eval(host)
