"""What the loop watches: sums between two lines, the clock, signals."""

import json
import os
import signal
import time

import numpy as np
import pytest

from glue_jax.training import monitor

ROWS = np.arange(2)


def pushed(watch, steps):
  for step in steps:
    metrics = {
      'loss': (np.float32(0.1 * step), np.float32(3)),
      'grad_norm': np.float32(1 / step),
      'finite': step != 5,
    }
    watch.push(step, metrics, ROWS)
  return watch


def test_sums_go_on_in_another_process_as_if_it_were_the_same():
  whole = pushed(monitor.Monitor(stop=False), range(1, 12))
  first = pushed(monitor.Monitor(stop=False), range(1, 8))
  saved = json.loads(json.dumps(first.state()))
  second = pushed(monitor.Monitor(stop=False, state=saved), range(8, 12))
  assert second.drain() == whole.drain()
  assert second.skipped == whole.skipped == 1
  assert second.state() == {'sums': {}, 'skipped': 1}


def test_seconds_do_not_follow_a_clock_that_is_set_back(monkeypatch):
  clock = monitor.Clock(time.monotonic())
  clock.step(8)
  monkeypatch.setattr(time, 'time', lambda: 0.0)
  clock.step(8)
  facts = clock.facts()
  assert 0 <= facts['seconds_to_first_step'] <= facts['seconds'] < 60
  assert facts['examples_per_s'] > 0


@pytest.fixture
def heard():
  """Ctrl-C isn't ignored, as it is where a test run is a background job."""
  old = signal.signal(signal.SIGINT, signal.default_int_handler)
  yield
  signal.signal(signal.SIGINT, old)


@pytest.mark.usefixtures('heard')
def test_control_c_is_a_wish_to_stop_and_the_second_is_the_kernels():
  before = signal.getsignal(signal.SIGINT)
  with monitor.Signals() as signals:
    assert not signals.stop
    os.kill(os.getpid(), signal.SIGINT)
    assert signals.stop
    assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
  assert signal.getsignal(signal.SIGINT) == before


def test_a_terminal_that_closes_is_a_wish_too_but_not_under_nohup():
  old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
  try:
    with monitor.Signals() as signals:
      os.kill(os.getpid(), signal.SIGHUP)
      assert not signals.stop
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with monitor.Signals() as signals:
      os.kill(os.getpid(), signal.SIGHUP)
      assert signals.stop
  finally:
    signal.signal(signal.SIGHUP, old)


@pytest.mark.usefixtures('heard')
def test_of_several_processes_control_c_gives_the_runtimes_notice(monkeypatch):
  monkeypatch.setattr(monitor.jax, 'process_count', lambda: 2)
  noted = []
  old = signal.signal(signal.SIGTERM, lambda *_: noted.append('SIGTERM'))
  try:
    with monitor.Signals() as signals:
      os.kill(os.getpid(), signal.SIGINT)
      assert noted == ['SIGTERM'] and not signals.stop
  finally:
    signal.signal(signal.SIGTERM, old)
