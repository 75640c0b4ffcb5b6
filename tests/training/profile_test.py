"""A trace of the steps that were asked for, as Perfetto and XProf read it."""

import gzip
import json
import re

import pytest
from absl import logging

from glue_jax.training import profile
from glue_jax.training.train import train
from tests.commands import status
from tests.conftest import tiny_config


@pytest.fixture
def warnings(monkeypatch):
  """The warnings that are logged."""
  said = []
  monkeypatch.setattr(
    logging, 'warning', lambda t, *args: said.append(t % args)
  )
  return said


def test_the_trace_holds_the_steps_asked_for(tmp_path):
  config = tiny_config(train=dict(epochs=1))
  train(config, tmp_path, 0, profile=profile.parse('2:2'))
  (folder,) = (tmp_path / 'profile/plugins/profile').iterdir()
  (planes,) = folder.glob('*.xplane.pb')
  assert b'step_num' in planes.read_bytes()
  with gzip.open(folder / 'perfetto_trace.json.gz') as file:
    events = json.load(file)['traceEvents']
  steps = [e for e in events if e.get('name') == 'train' and e['ph'] == 'X']
  numbers = sorted(int(e['args']['step_num']) for e in steps)
  assert numbers == [2, 3]
  assert all(e['dur'] > 0 for e in steps)
  assert len(events) > 50  # what the steps are made of


@pytest.mark.parametrize(
  'text', ['', '5', '0:3', '3:0', '-1:2', '1:2:3', 'a:b', '1.5:2', '²:1']
)
def test_other_windows_are_refused(text):
  said = f'profile={text!r}; expected FIRST:COUNT, the number of a step'
  with pytest.raises(ValueError, match=re.escape(said)):
    profile.parse(text)


def test_a_bad_window_is_one_line_of_the_command(tmp_path):
  from launch import train as command

  line = status(
    command, '--config=quickstart', f'--workdir={tmp_path}', '--profile=5'
  )
  assert line.startswith("error: profile='5'; expected FIRST:COUNT")
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('start, taken', [(0, 3), (8, 12), (0, 0)])
def test_steps_that_were_not_taken_are_said(tmp_path, warnings, start, taken):
  with profile.Profile(profile.Window(5, 2), tmp_path, start) as trace:
    for number in range(start + 1, taken + 1):
      with trace.step(number):
        pass
      trace.taken(number, ())
  assert warnings == [
    'profile: nothing was traced; this start of the run took no step from 5 '
    'to 6'
  ]
  assert not list(tmp_path.iterdir())


def test_a_window_that_the_run_cuts_off_is_written(tmp_path, warnings):
  with profile.Profile(profile.Window(1, 9), tmp_path, 0) as trace:
    with trace.step(1):
      pass
    trace.taken(1, ())
  assert len(warnings) == 1 and 'ended within the steps 1 to 9' in warnings[0]
  assert list(tmp_path.rglob('*.xplane.pb'))


def test_a_profiler_that_fails_ends_no_run(tmp_path, warnings, monkeypatch):
  def fail(*arguments, **settings):
    raise RuntimeError('busy\nvery')

  monkeypatch.setattr(profile.jax.profiler, 'start_trace', fail)
  with profile.Profile(profile.Window(1, 1), tmp_path, 0) as trace:
    with trace.step(1):
      pass
    trace.taken(1, ())
  assert warnings == ['profile: RuntimeError: busy']


def test_without_a_window_nothing_is_traced(tmp_path, warnings):
  with profile.Profile(None, tmp_path, 0) as trace, trace.step(1):
    trace.taken(1, ())
  assert warnings == [] and not list(tmp_path.iterdir())
