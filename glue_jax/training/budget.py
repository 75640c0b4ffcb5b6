"""A run's length in minutes: the speed is measured, then the steps are fixed.

`train.minutes` is of wall time, from the start of the run (of each seed and
stage) to the end of its training: reading, compiling and the evaluations in
between count, the last evaluation and what is written after it don't. Some
steps and an evaluation are taken on a copy of the run and thrown away; what of
the time remains, less a reserve of 5 %, gives the number of steps. From there
on the run is the one with `train.steps` of that number, to the last bit:
schedule, order and all. Where the machine gets slower the run ends early, in
time; so it is over the budget by one step and the last evaluation at most.

`budget.json` in the run's folder holds the number and the time used, so that a
run that goes on keeps them; `run.json` shows it as `budget`. The time between
the last checkpoint and a kill isn't counted.
"""

import dataclasses
import json
import math
import pathlib
import time
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils

from glue_jax.devices import sharding
from glue_jax.reporting import files, run_record
from glue_jax.training import checkpoint

FILE = 'budget.json'
# Of the time that remains, for what wasn't measured: checkpoints, a slow step.
RESERVE = 0.05
SAMPLE = 8  # steps that are timed, spread over the first epoch
_SMALL = 0.05  # share of a budget that may go to a second evaluation


@dataclasses.dataclass(frozen=True)
class Speed:
  """What the copy of a run took.

  Attributes:
    step, evaluation: seconds of one.
    again: seconds until a second beginning of the run is as far.
  """

  step: float
  evaluation: float
  again: float


class Budget:
  """The minutes of a run; without any it has no say.

  Attributes:
    steps: of the run, once they are chosen; None without minutes or before.
  """

  def __init__(self, workdir: pathlib.Path, minutes: float | None):
    """Takes over what the run's folder holds of an earlier start.

    Args:
      workdir: the run's folder.
      minutes: `train.minutes`; None = the config gives epochs or steps.
    """
    self._started = now()
    self._path = workdir / FILE
    self._minutes = minutes
    old = {}
    if minutes is not None and self._path.is_file():
      old = run_record.read_json(self._path)
    self._used = old.get('used_seconds', 0.0)
    # Of other minutes the steps are chosen anew, after those that are done.
    self._record = old if old.get('minutes') == minutes else {}
    self.steps = self._record.get('steps')

  @property
  def open(self) -> bool:
    """Whether the steps are yet to be chosen."""
    return self._minutes is not None and self.steps is None

  def seconds_left(self) -> float:
    """Returns what remains of the minutes."""
    return self._minutes * 60 - self._used - (now() - self._started)

  def choose(self, run: Any) -> int:
    """Measures a run and chooses the steps.

    Args:
      run: the `Training`, as it begins with any number of steps; it is left as
        it was, but its data in its first state.

    Returns:
      The steps of the whole run; every process the same.

    Raises:
      ValueError: no time remains for a step.
    """
    begun = now() - self._started
    speed = measure(run, begun, self._minutes * 60 * _SMALL)
    every = run.parts.sections.train.eval_every or run.host.steps_per_epoch
    each = speed.step + speed.evaluation / every
    left = self.seconds_left() - speed.again
    steps = _agreed(math.floor(left * (1 - RESERVE) / each))
    if steps < 1:
      raise ValueError(
        f'config.train.minutes={self._minutes} are too few: reading, compiling '
        f'and measuring take {self._minutes * 60 - left:.0f} s, a step '
        f'{each:.2f} s; give more'
      )
    self.steps = self._done() + steps
    self._record = {
      'minutes': self._minutes,
      'steps': self.steps,
      'seconds_per_step': round(speed.step, 5),
      'seconds_per_evaluation': round(speed.evaluation, 3),
    }
    logging.info('%s minutes: %d steps', self._minutes, self.steps)
    return self.steps

  def _done(self) -> int:
    """Steps that an earlier start has taken."""
    folder = self._path.parent / 'checkpoints'
    if not folder.is_dir():
      return 0
    return checkpoint.Checkpoints(folder, create=False).newest() or 0

  def over(self, step: int, every: int, evaluates: bool) -> bool:
    """Says whether the run must end with this step to be in time.

    Args:
      step: finished steps.
      every: between two such questions where several processes must agree.
      evaluates: an evaluation is due, which would be the last that fits.
    """
    if self._minutes is None:
      return False
    if jax.process_count() > 1 and step % every and not evaluates:
      return False
    needed = self._record['seconds_per_evaluation'] if evaluates else 0.0
    over = bool(_agreed(int(self.seconds_left() <= needed)))
    if over and step < self.steps:
      self._record['ended_early'] = step
    return over

  def write(self) -> None:
    """Writes the number of steps and the time used, on process 0."""
    if self._minutes is not None and files.is_first_process():
      files.replace_text(self._path, json.dumps(self.facts(), indent=2) + '\n')

  def facts(self) -> dict[str, Any]:
    """Returns what is written; {} without minutes."""
    if self._minutes is None:
      return {}
    used = self._used + now() - self._started
    return self._record | {'used_seconds': round(used, 1)}


def measure(run: Any, begun: float, small: float) -> Speed:
  """Times steps and evaluations of a copy of a run.

  Args:
    run: the `Training`.
    begun: seconds that its beginning took.
    small: a first evaluation, which compiles, shorter than this is repeated.
  """
  data = run.parts.train_data()
  before = data.state()
  copy = run.afresh()
  with sharding.enter(run.parts.mesh):
    copy.prepare()
    places = np.linspace(0, data.steps_per_epoch - 1, SAMPLE).astype(int)
    rows = {place: data.batch(int(place)) for place in places}
    lengths = {data.length(int(place)): rows[place] for place in places}
    for batch in lengths.values():  # each is a program of its own
      copy.step(batch)
    jax.block_until_ready(copy.host.state)
    start = now()
    for place in places:
      copy.step(rows[place])
    jax.block_until_ready(copy.host.state)
    step = (now() - start) / len(places)
    start = now()
    copy.host.evaluate()
    evaluation = now() - start
    if evaluation < small:
      start = now()
      copy.host.evaluate()
      evaluation = now() - start
  data.restore(before)
  return Speed(step, evaluation, begun + run.programs.seconds)


def now() -> float:
  """Returns seconds, whatever is done to the system's clock."""
  return time.monotonic()


def _agreed(value: int) -> int:
  """Returns what process 0 says."""
  if jax.process_count() == 1:
    return value
  return int(multihost_utils.broadcast_one_to_all(value))
