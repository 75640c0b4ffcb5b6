"""What the loop watches: device results, the clock, signals to stop."""

import collections
import contextlib
import os
import signal
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from absl import logging


class NonFinite(RuntimeError):
  """Loss, gradient or update is NaN or infinite."""


class Monitor:
  """Collects step metrics a few steps late, so that the device never waits.

  Attributes:
    waited: seconds spent waiting for the device.
    skipped: steps whose update was dropped since it wasn't finite.
  """

  def __init__(
    self, stop: bool, state: Mapping[str, Any] | None = None, lag: int = 2
  ):
    """Makes a monitor.

    Args:
      stop: raise at a step that isn't finite; else count it as skipped.
      state: of the monitor of a run that goes on, see `state`.
      lag: how many steps may be in flight unread.
    """
    self._stop = stop
    self._lag = lag
    self._pending: collections.deque = collections.deque()
    state = state or {}
    self._sums: dict[str, np.ndarray] = {
      name: np.array(pair) for name, pair in state.get('sums', {}).items()
    }
    self.waited = 0.0
    self.skipped = state.get('skipped', 0)
    self._warned = False

  def push(self, step: int, metrics: dict[str, Any], rows: np.ndarray) -> None:
    """Takes the metrics of a step; reads those of `lag` steps before.

    Args:
      step: number of finished steps, this one included.
      metrics: {name: (sum, count)}, 'grad_norm' and 'finite'.
      rows: `idx` of the batch, to name it if it isn't finite.

    Raises:
      NonFinite: see `stop`.
    """
    self._pending.append((step, metrics, rows))
    while len(self._pending) > self._lag:
      self._read()

  def compiled(self, programs: int, limit: int) -> None:
    """Warns once when more programs than the limit were compiled."""
    if programs > limit and not self._warned:
      self._warned = True
      logging.warning(
        '%d programs were compiled, more than config.train.max_programs=%d; '
        'use fewer length buckets or variants',
        programs,
        limit,
      )

  def check(self) -> None:
    """Reads all that is pending, so that what follows rests on it."""
    while self._pending:
      self._read()

  def state(self) -> dict[str, Any]:
    """Returns what a checkpoint keeps: JSON values, exact.

    The sums since the last line of metrics are among it, so that a run that
    goes on between two lines writes the next one as if it had never stopped.
    """
    self.check()
    sums = {name: pair.tolist() for name, pair in self._sums.items()}
    return {'sums': sums, 'skipped': self.skipped}

  def drain(self) -> dict[str, float]:
    """Reads all that is pending and returns the means since the last drain.

    What was never counted, except the loss, is left out.
    """
    self.check()
    means = {
      name: float(total / max(count, 1e-30))
      for name, (total, count) in self._sums.items()
      if count or name == 'loss'
    }
    self._sums = {}
    return means

  def _read(self):
    step, metrics, rows = self._pending.popleft()
    start = time.perf_counter()
    metrics = jax.device_get(metrics)
    self.waited += time.perf_counter() - start
    finite, norm = metrics.pop('finite'), metrics.pop('grad_norm')
    if not finite and self._stop:
      total, count = metrics['loss']
      update = "the optimizer's update is not finite; "
      cause = update if np.isfinite(total + norm) else ''
      raise NonFinite(
        f'step {step}: {cause}loss sum {total} over {count}, '
        f'gradient norm {norm}; '
        f'rows of the batch: {[int(row) for row in rows if row >= 0]}. The '
        'last good checkpoint is kept; lower the learning rate, or set '
        "config.train.nonfinite='skip' to drop such steps"
      )
    if not finite:
      self.skipped += 1
      return
    for name, value in (metrics | {'grad_norm': (norm, 1)}).items():
      old = self._sums.get(name, np.zeros(2))
      self._sums[name] = old + np.asarray(value, np.float64)


class Clock:
  """Wall time and rates of a run, whatever is done to the system's clock."""

  def __init__(self, started: float):
    """Args: started: `time.monotonic()` when the run did."""
    self._started = started
    self._first = None
    self._mark = None
    self._examples = self._total = 0
    self._seconds = 0.0

  def step(self, examples: int) -> None:
    """Counts a finished dispatch; the first one (it compiles) isn't timed."""
    now = time.monotonic()
    if self._first is None:
      self._first = now - self._started
    if self._mark is not None:
      self._seconds += now - self._mark
      self._examples += examples
    self._mark = now
    self._total += examples

  def pause(self) -> None:
    """Leaves the time until the next step out of the rate."""
    self._mark = None

  def rate(self) -> float:
    """Returns examples a second while training."""
    return self._examples / self._seconds if self._seconds else 0.0

  def facts(self) -> dict[str, float]:
    return {
      'seconds': time.monotonic() - self._started,
      'seconds_to_first_step': self._first or 0.0,
      'examples_per_s': self.rate(),
    }


class Signals:
  """Notes a wish to stop instead of dying of it; only in the main thread.

  SIGTERM and Ctrl-C are the same wish, as is a terminal that closes. A second
  Ctrl-C ends the process at once.

  With several processes the runtime's own notice of SIGTERM is used (it agrees
  on one step to stop at, see `Checkpoints.preempted`), and Ctrl-C gives it.
  """

  def __init__(self):
    self.stop = False
    self._old: dict[int, Any] = {}

  def __enter__(self) -> 'Signals':
    several = jax.process_count() > 1
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
      # nohup ignores what is no wish then.
      ignored = signal.getsignal(number) == signal.SIG_IGN
      if not ignored and (not several or number != signal.SIGTERM):
        # Outside the main thread the owner of the process decides.
        with contextlib.suppress(ValueError):
          self._old[number] = signal.signal(number, self._note)
    return self

  def _note(self, number, frame):
    del frame
    if number == signal.SIGINT:
      # Left to the kernel, as Python acts only between two calls of libraries.
      signal.signal(signal.SIGINT, signal.SIG_DFL)
    if jax.process_count() > 1:
      os.kill(os.getpid(), signal.SIGTERM)
    else:
      self.stop = True

  def __exit__(self, *exception) -> None:
    for number, old in self._old.items():
      signal.signal(number, old)
