"""What the loop watches: device results, the clock, signals to stop."""

import collections
import contextlib
import signal
import time
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

  def __init__(self, stop: bool, lag: int = 2):
    """Makes a monitor.

    Args:
      stop: raise at a step that isn't finite; else count it as skipped.
      lag: how many steps may be in flight unread.
    """
    self._stop = stop
    self._lag = lag
    self._pending: collections.deque = collections.deque()
    self._sums: dict[str, np.ndarray] = {}
    self.waited = 0.0
    self.skipped = 0
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
  """Wall time and rates of a run."""

  def __init__(self, started: float):
    self._started = started
    self._first = None
    self._mark = None
    self._examples = self._total = 0
    self._seconds = 0.0

  def step(self, examples: int) -> None:
    """Counts a finished dispatch; the first one (it compiles) isn't timed."""
    now = time.time()
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
      'seconds': time.time() - self._started,
      'seconds_to_first_step': self._first or 0.0,
      'examples_per_s': self.rate(),
    }


class Signals:
  """Notes SIGTERM instead of dying of it; only in the main thread.

  With several processes the runtime's own notice is used instead (it agrees on
  one step to stop at, see `Checkpoints.preempted`), and nothing is done here.
  """

  def __init__(self):
    self.stop = False

  def __enter__(self) -> 'Signals':
    self._old = None
    if jax.process_count() > 1:
      return self

    def handle(number, frame):
      del number, frame
      self.stop = True

    # Outside the main thread the owner of the process decides.
    with contextlib.suppress(ValueError):
      self._old = signal.signal(signal.SIGTERM, handle)
    return self

  def __exit__(self, *exception) -> None:
    if self._old is not None:
      signal.signal(signal.SIGTERM, self._old)
