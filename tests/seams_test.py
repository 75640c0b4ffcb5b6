"""Laws of the loop's seams, on their smallest users in tests/users.

One run enters all of them: phases, an order for each epoch, a shape for each
variant, values that are calibrated, batches that are collected. A kill, other
devices, other processes and parts of a batch must not change it.
"""

import json

import pytest

from glue_jax.training import train
from tests import device_cases, device_laws_test, small_users
from tests.conftest import tiny_config

CHANGES = dict(
  model=dict(dropout=0.0, attention_dropout=0.0, num_heads=2, num_layers=2),
  data=dict(train_limit=56, eval_limit=30),
  objective=dict(name='in_turn', repeat=2),
  optimizer=dict(lr=1e-3, phases=dict(head=dict(lr=2e-3, clip_norm=None))),
  train=dict(epochs=2, log_every=3),
  methods=[
    ['shallow', {}], ['ripening', {}], ['asking', {}], ['counting', {}],
  ],
)  # fmt: skip
FILES = ('metrics.jsonl', 'model/params.safetensors', 'result.json')


@pytest.fixture(scope='module')
def one(tmp_path_factory):
  """The run on one device that was never stopped, its batches whole."""
  workdir = tmp_path_factory.mktemp('one')
  with small_users.named():
    train.train(tiny_config(**CHANGES), workdir, 0)
  return workdir


def test_a_run_ends_with_its_epochs(one):
  """Of 24 and 80 rows in batches of 16; planned were 2 x 4 steps."""
  lines = [json.loads(x) for x in (one / 'metrics.jsonl').open()]
  evaluated = [x['step'] for x in lines if 'validation/loss' in x]
  assert evaluated == [2, 7]
  # The rate goes on to 0 at the planned end, whatever the run's.
  rates = {x['step']: x for x in lines if 'head/lr' in x}
  for phase in ('head', 'backbone'):
    ours = {step: x[f'{phase}/lr'] for step, x in rates.items()}
    assert ours[7] == pytest.approx(ours[6] * 2 / 3)
  assert rates[6]['head/lr'] == pytest.approx(2 * rates[6]['backbone/lr'])
  run = json.loads((one / 'run.json').read_text())
  assert run['programs_compiled'] == 2  # one for each variant


def test_stopped_in_the_middle_and_gone_on_is_the_same_bytes(
  one, tmp_path, monkeypatch
):
  config = tiny_config(**CHANGES)
  with small_users.named():
    with monkeypatch.context() as patch:
      patch.setattr(train, 'Signals', train.Signals)
      device_cases._stop_after(train, 4)
      with pytest.raises(train.Interrupted, match='step 4 of 7'):
        train.train(config, tmp_path, 0)
    train.train(config, tmp_path, 0)
  for file in FILES:
    assert (tmp_path / file).read_bytes() == (one / file).read_bytes(), file


def test_four_devices_and_parts_of_a_batch_give_the_result_of_one(
  one, tmp_path
):
  parts = dict(CHANGES['train'], accumulate=2)
  changes = CHANGES | dict(mesh=dict(data=2, fsdp=2), train=parts)
  device_laws_test.run({'four': {'changes': changes}}, tmp_path, 4)
  device_laws_test.assert_equal(tmp_path / 'four', one)


def test_two_processes_give_the_result_of_one(one, tmp_path):
  changes = CHANGES | dict(mesh=dict(data=2, fsdp=2))
  device_laws_test.two_processes({'two': {'changes': changes}}, tmp_path)
  device_laws_test.assert_equal(tmp_path / 'two', one)
