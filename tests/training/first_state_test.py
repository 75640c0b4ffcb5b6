"""Values that methods set by the first batches."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.devices import sharding
from glue_jax.training import begin, first_state
from tests import small_users
from tests.conftest import tiny_config


@pytest.fixture(scope='module')
def run():
  methods = [['counting', {}], ['lora', dict(rank=2)]]
  with small_users.named():
    return begin.begin(tiny_config(methods=methods), 0)


def test_what_is_calibrated_is_what_the_first_epoch_says(run):
  before = tree.flatten(run.parts.params)
  parts = dataclasses.replace(run.parts)
  with sharding.enter(parts.mesh):
    first_state.calibrate(parts, run.host.state)
    state = first_state.initial_state(parts, run.tx, run.key)
  rows = [parts.train_data().batch(step) for step in range(4)]
  labels = np.concatenate([x['labels'] for x in rows])
  share = np.bincount(labels) / len(labels)
  flat = tree.flatten(state.params)
  bias = flat.pop('head/out/bias')
  np.testing.assert_allclose(bias, np.log(share), rtol=1e-5)
  tokens = np.mean([x['attention_mask'].sum(-1).mean() for x in rows])
  np.testing.assert_allclose(state.extra['tokens'], tokens, rtol=1e-6)
  for name, value in flat.items():
    np.testing.assert_array_equal(value, before[name], err_msg=name)
  assert run.host.state.extra['tokens'] == 0


@pytest.mark.parametrize(
  'params, extra, message',
  [
    ({'head': {'out': {}}}, {}, '- params/head/out/bias'),
    (None, {'other': jnp.zeros(())}, r'\+ extra/other'),
    (None, {'tokens': jnp.zeros(2)}, r'! extra/tokens found \(2,\)'),
  ],
)
def test_other_leaves_than_there_were_are_refused(run, params, extra, message):
  def calibrate(apply, given, batches):
    return given | (params or {}), dict(apply.extra) | extra

  method = dataclasses.replace(run.parts.method, calibrate=calibrate)
  parts = dataclasses.replace(run.parts, method=method)
  with pytest.raises(ValueError, match=message):
    first_state.calibrate(parts, run.host.state)
