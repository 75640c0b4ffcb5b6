"""Minutes become steps, and the run is the one of that many steps."""

import json
import types

import jax
import numpy as np
import pytest

from glue_jax.training import begin, budget, schema
from glue_jax.training import train as loop
from glue_jax.training.budget import Budget, Speed
from glue_jax.training.train import Interrupted, train
from tests.conftest import tiny_config

# 10 s, less 5 %, at 1 s a step and 0.8 s an evaluation every 4 steps: 7.9.
SPEED, MINUTES, STEPS = Speed(1.0, 0.8, 0.0), 10 / 60, 7


class Clock:
  """Stands still unless it is told to go on, or has so many steps at a call."""

  def __init__(self):
    self.time = self.each = 0.0

  def __call__(self):
    self.time += self.each
    return self.time


@pytest.fixture
def clock(monkeypatch):
  made = Clock()
  monkeypatch.setattr(budget, 'now', made)
  monkeypatch.setattr(budget, 'measure', lambda *_: SPEED)
  return made


def config(**train):
  length = train or dict(minutes=MINUTES)
  return tiny_config(
    model=dict(num_layers=1), train=dict(epochs=None, **length)
  )


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
  folder = tmp_path_factory.mktemp('plain')
  train(config(steps=STEPS), folder, 0)
  return folder


def test_a_run_of_minutes_is_that_of_the_steps_chosen(plain, tmp_path, clock):
  result = train(config(), tmp_path, 0)
  assert result['step'] == STEPS
  files = sorted((plain / 'model').glob('*.safetensors'))
  assert files
  for file in files:
    assert file.read_bytes() == (tmp_path / 'model' / file.name).read_bytes()
  record = json.loads((tmp_path / 'run.json').read_text())['budget']
  assert record == {
    'minutes': MINUTES,
    'steps': STEPS,
    'seconds_per_step': 1.0,
    'seconds_per_evaluation': 0.8,
    'used_seconds': 0.0,
  }
  lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
  rates = [r['lr'] for r in map(json.loads, lines) if 'lr' in r]
  assert rates[-1] < max(rates) / 3  # the schedule ends where the run does
  # It is trained on for longer, after what is done.
  longer = config(minutes=2 * MINUTES)
  with pytest.raises(ValueError, match='or steps, minutes'):
    train(longer, tmp_path, 0)
  result = train(longer, tmp_path, 0, allow_config_change=True)
  assert result['step'] == STEPS + 15  # no time was used by this clock


def test_a_run_that_goes_on_keeps_steps_and_counts_the_time(
  plain, tmp_path, clock, monkeypatch
):
  class Stop(loop.Signals):
    calls, last = 0, 3

    @property
    def stop(self):
      Stop.calls += 1
      return Stop.calls >= Stop.last

    @stop.setter
    def stop(self, value):
      pass

  with monkeypatch.context() as patch:
    patch.setattr(loop, 'Signals', Stop)
    clock.each = 0.1
    with pytest.raises(Interrupted, match=f'step 3 of {STEPS}'):
      train(config(), tmp_path, 0)
  used = json.loads((tmp_path / 'budget.json').read_text())['used_seconds']
  assert 0.1 < used < 2
  # Were it measured again, it would be of other steps.
  monkeypatch.setattr(budget, 'measure', None)
  clock.each = 0.0
  assert train(config(), tmp_path, 0)['step'] == STEPS
  after = json.loads((tmp_path / 'budget.json').read_text())
  assert after['used_seconds'] == used
  for file in (plain / 'model').glob('*.safetensors'):
    assert file.read_bytes() == (tmp_path / 'model' / file.name).read_bytes()


def test_a_run_that_gets_slower_ends_in_time(tmp_path, clock):
  clock.each = 2.2  # each question of the time takes so long
  result = train(config(), tmp_path, 0)
  assert 0 < result['step'] < STEPS
  record = json.loads((tmp_path / 'run.json').read_text())['budget']
  assert record['ended_early'] == result['step']
  assert json.loads((tmp_path / 'done.json').read_text()) == {
    'step': result['step']
  }
  # It is exported as it ended, not trained on.
  (tmp_path / 'done.json').unlink()
  assert train(config(), tmp_path, 0) == result


def test_the_time_that_remains_gives_the_steps(tmp_path, clock, monkeypatch):
  made = Budget(tmp_path, 1.0)
  run = types.SimpleNamespace(
    parts=types.SimpleNamespace(
      sections=types.SimpleNamespace(train=types.SimpleNamespace(eval_every=10))
    )
  )
  clock.time = 20.0
  monkeypatch.setattr(budget, 'measure', lambda *_: Speed(0.5, 5.0, 10.0))
  assert (
    made.open and made.choose(run) == 28
  )  # (60 - 20 - 10) 0.95 / (0.5 + 0.5)
  assert not made.open
  clock.time = 54.9
  assert not made.over(3, 1, False) and not made.over(3, 1, True)
  clock.time = 55.1  # no room for an evaluation and another one at the end
  assert not made.over(3, 1, False) and made.over(3, 1, True)
  clock.time = 60.1
  assert made.over(3, 1, False)
  none = Budget(tmp_path, None)
  assert not none.open and none.facts() == {} and not none.over(1, 1, True)


def test_a_budget_that_leaves_no_step_is_refused(tmp_path, clock, monkeypatch):
  monkeypatch.setattr(budget, 'measure', lambda *_: Speed(1.0, 0.0, 30.0))
  with pytest.raises(
    ValueError, match='minutes=0.1 are too few: .* 30 s, a step 1.00 s'
  ):
    train(config(minutes=0.1), tmp_path, 0)
  assert not (tmp_path / 'budget.json').exists()


def test_one_length_is_given():
  for lengths in (dict(minutes=1.0, steps=3), dict(epochs=1, minutes=1.0), {}):
    with pytest.raises(ValueError, match='either `epochs` or `steps`, or'):
      schema.check(tiny_config(train=dict(dict(epochs=None), **lengths)))


def test_measuring_leaves_the_run_as_it_was():
  run = begin.begin(config(), 0)
  data, before = run.parts.train_data(), jax.device_get(run.host.state.params)
  rows = data.batch(0)['idx']
  state = data.state()
  speed = budget.measure(run, 1.0, 60.0)
  assert 0 < speed.step < 60 and 0 < speed.evaluation < 60
  assert speed.again > 1.0 and run.host.step == 0
  assert data.state() == state
  np.testing.assert_array_equal(data.batch(0)['idx'], rows)
  after = jax.device_get(run.host.state.params)
  jax.tree.map(np.testing.assert_array_equal, before, after)
