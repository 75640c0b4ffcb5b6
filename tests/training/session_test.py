"""What a checkpoint's notes bring back, those of older versions too."""

import types

import pytest

from glue_jax.devices import sharding
from glue_jax.training import session
from glue_jax.training.begin import begin
from tests.conftest import tiny_config


@pytest.fixture(scope='module')
def run():
  return begin(tiny_config(model=dict(num_layers=1)), 0)


@pytest.mark.parametrize(
  'changes, stop',
  [
    ({'stop': True}, True),
    ({'stop': False}, False),
    ({'memory': {'patience': {'best': 1.0, 'stale': 3}}}, False),
    # As written when early stopping was the host's own.
    ({'memory': {'patience': {'best': 1.0, 'finished': True}}}, True),
    ({'memory': {'patience': {'best': 1.0, 'finished': False}}}, False),
  ],
)
def test_a_run_that_ended_early_is_known_by_its_checkpoint(run, changes, stop):
  again = run.afresh(step=8)
  host = again.host
  record = {k: v for k, v in session.notes(host, {}, {}).items() if k != 'stop'}
  saved = types.SimpleNamespace(
    host=lambda kind, step: record | changes,
    state=lambda *_: host.state,
  )
  with sharding.enter(run.parts.mesh):
    session.restore_step(saved, 'last', 8, run.parts, run.tx, host)
  assert host.stop is stop and host.step == 8
