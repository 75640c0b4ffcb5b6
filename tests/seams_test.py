"""Laws of the loop's seams, on their smallest users in tests/users.

One run enters all of them: a kill, other devices, other processes and parts of
a batch must not change it.
"""

import json

import pytest

from glue_jax.training import train
from tests import device_cases, device_laws_test, small_users
from tests.conftest import tiny_config

CHANGES = dict(
  model=dict(
    dropout=0.0, attention_dropout=0.0, num_heads=2, num_layers=1,
  ),
  data=dict(train_limit=56, eval_limit=30),
  objective=dict(name='in_turn', repeat=2),
  optimizer=dict(lr=1e-3, phases=dict(head=dict(lr=2e-3, clip_norm=None))),
  train=dict(epochs=3, log_every=3),
  methods=[['ripening', {}], ['asking', {}], ['counting', {}]],
)  # fmt: skip
FILES = ('metrics.jsonl', 'model/params.safetensors', 'result.json')


def test_a_run_ends_with_its_epochs(one):
  """Of 24, 80 and 56 rows in batches of 16; planned were 3 x 4 steps."""
  lines = [json.loads(x) for x in (one / 'metrics.jsonl').open()]
  evaluated = [x['step'] for x in lines if 'validation/loss' in x]
  assert evaluated == [2, 7, 11]
  # The rate goes on to 0 at the planned end, whatever the run's.
  rates = {x['step']: x['lr'] for x in lines if 'lr' in x}
  assert rates[11] == pytest.approx(rates[9] / 2)


def test_stopped_in_the_middle_and_gone_on_is_the_same_bytes(
  tmp_path, monkeypatch
):
  # Dropout: the keys of all updates are those of a run that isn't stopped.
  config = tiny_config(**CHANGES | dict(model=dict(num_layers=1)))
  with small_users.named():
    train.train(config, tmp_path / 'whole', 0)
    with monkeypatch.context() as patch:
      patch.setattr(train, 'Signals', train.Signals)
      device_cases._stop_after(train, 5)
      with pytest.raises(train.Interrupted):
        train.train(config, tmp_path / 'run', 0)
    train.train(config, tmp_path / 'run', 0)
  for file in FILES:
    ours, theirs = (tmp_path / name / file for name in ('run', 'whole'))
    assert ours.read_bytes() == theirs.read_bytes(), file


@pytest.fixture(scope='module')
def one(tmp_path_factory):
  """The run on one device, whose batches are whole."""
  out = tmp_path_factory.mktemp('one')
  device_laws_test.run({'run': {'changes': CHANGES}}, out, 1)
  return out / 'run'


def test_four_devices_and_parts_of_a_batch_give_the_result_of_one(
  one, tmp_path
):
  parts = dict(CHANGES['train'], accumulate=2)
  cases = {
    'four': {'changes': CHANGES | dict(mesh=dict(data=2, fsdp=2))},
    'parts': {'changes': CHANGES | dict(mesh=dict(fsdp=4), train=parts)},
  }
  device_laws_test.run(cases, tmp_path, 4)
  for name in cases:
    device_laws_test.assert_equal(tmp_path / name, one)


def test_two_processes_give_the_result_of_one(one, tmp_path):
  changes = CHANGES | dict(mesh=dict(data=2, fsdp=2))
  device_laws_test.two_processes({'two': {'changes': changes}}, tmp_path)
  device_laws_test.assert_equal(tmp_path / 'two', one)
