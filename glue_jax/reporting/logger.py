"""Where a run's metrics go: the protocol, and the guard around each logger.

A config names loggers, each by its name or as (name, keyword arguments):

  config.loggers = ('tensorboard', ('wandb', {'project': 'tuning'}))

Names are files of glue_jax/reporting/loggers, and `package.module:Class` for an
own one: whatever can be called with the keyword arguments and returns an object
with the three methods of `Logger`. Its module may lie in the directory in which
the command is typed.

`metrics.jsonl` is the run's own record, which curves, comparisons and resuming
rest on: it is always written, whether 'jsonl' is named or not, and a run that
can't write it ends. All others are beside it: they may be changed when a run
goes on, and a logger that raises, falls behind or hangs is given up with one
warning while the run goes on.
"""

import dataclasses
import json
import pathlib
import queue
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from absl import logging

from glue_jax.config import config as config_lib
from glue_jax.config import importable
from glue_jax.reporting import files

RECORD = 'jsonl'
PACKAGE = 'reporting.loggers'
# Seconds that the end of a run waits for a logger: after the result, and where
# the run was stopped or failed (who stops it may kill it soon).
FINISH_SECONDS, STOP_SECONDS = 60.0, 10.0
# Lines that may wait for a logger before it is given up.
BEHIND = 10_000
_METHODS = ('start', 'scalars', 'finish')


@dataclasses.dataclass(frozen=True)
class Run:
  """What a logger is told of the run.

  Attributes:
    workdir: its folder, which exists.
    name: the folder's, below that of the whole run: 'quickstart/sentiment'.
    config: completed, as JSON has it.
    seed: of this run.
    resumed: step that it goes on from; None for a new run.
  """

  workdir: pathlib.Path
  name: str = ''
  config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  seed: int = 0
  resumed: int | None = None

  def kept(self, logger: str) -> dict[str, Any]:
    """What a logger kept when the run was started before; {} in a new run."""
    path = self._file(logger)
    if self.resumed is None or not path.is_file():
      return {}
    return json.loads(path.read_text())

  def keep(self, logger: str, record: Mapping[str, Any]) -> None:
    """Keeps JSON values, such as the id that the service gave to the run."""
    files.replace_text(self._file(logger), json.dumps(dict(record)) + '\n')

  def _file(self, logger: str) -> pathlib.Path:
    return self.workdir / 'loggers' / f'{logger}.json'


class Logger(Protocol):
  """What is called, in this order, on process 0 and in a thread of its own.

  What is made (`make(**kwargs)`, `Class(**kwargs)`) keeps its settings and does
  nothing else: it is also made to check a config. What a method raises ends the
  logger, not the run.
  """

  def start(self, run: Run) -> None:
    """Called once, before the first line."""

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """Takes finite and other floats by name ('train/loss', 'lr').

    Steps never fall within a start; several calls may have the same step. A run
    that goes on repeats those after its checkpoint, with the same values.
    """

  def finish(self, result: Mapping[str, Any] | None) -> None:
    """Called once, at the end.

    Args:
      result: the content of result.json; None where the run was stopped or
        failed, and may go on later.
    """


def make(entries: Sequence[importable.Entry]) -> dict[str, Logger]:
  """Makes the loggers of a config.

  Args:
    entries: names, or (name, keyword arguments).

  Returns:
    {name: logger}, without the record 'jsonl'.

  Raises:
    ValueError: no such logger, arguments that it doesn't take, a package that
      isn't installed, a name twice, or an object without the three methods.
  """
  made: dict[str, Logger] = {}
  for i, entry in enumerate(entries):
    where = f'loggers[{i}]'
    name, arguments = importable.split(entry)
    if name in made:
      raise ValueError(f'config.{where}: {name!r} is there twice')
    if name == RECORD:
      if arguments:
        raise ValueError(f'config.{where}: {RECORD!r} takes no arguments')
      continue
    made[name] = importable.call(_maker(name, where), arguments, where)
    lacking = [m for m in _METHODS if not hasattr(made[name], m)]
    if lacking:
      raise ValueError(
        f'config.{where}: {name} gives a {type(made[name]).__name__} without '
        f'{", ".join(lacking)}; a logger has the methods {", ".join(_METHODS)}'
      )
  return made


def _maker(name: str, where: str) -> Any:
  if ':' in name:
    return importable.load(name, where)
  names = config_lib.files(PACKAGE)
  if name not in names:
    raise ValueError(
      f'config.{where}: no logger {name!r}; there are '
      f'{sorted([RECORD, *names])}, and own ones as package.module:Class'
    )
  return config_lib.module(PACKAGE, name, where).make


def flat_metrics(result: Mapping[str, Any]) -> dict[str, float]:
  """The scores of a result as {'result/validation/accuracy': value}."""
  return {
    f'result/{split}/{name}': float(value)
    for split, values in result.get('metrics', {}).items()
    for name, value in values.items()
    if isinstance(value, int | float)
  }


class Guard:
  """One logger in a thread of its own, that can't hold up or end the run.

  Args:
    name: of the logger, for the warning.
    logger: what is called.
  """

  def __init__(self, name: str, logger: Logger):
    self._name, self._logger = name, logger
    self._calls: queue.Queue = queue.Queue(BEHIND)
    self._lock, self._on = threading.Lock(), True
    self._thread = threading.Thread(
      target=self._work, name=f'logger {name}', daemon=True
    )
    self._thread.start()

  def start(self, run: Run) -> None:
    """Lets the logger start; returns at once."""
    self._put('start', run)

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """Lets the logger take a line; returns at once."""
    self._put('scalars', step, values)

  def finish(
    self, result: Mapping[str, Any] | None, seconds: float | None = None
  ) -> None:
    """Waits for the logger to take all lines and to finish.

    Args:
      result: see `Logger.finish`.
      seconds: to wait; default: `FINISH_SECONDS`, or `STOP_SECONDS` without a
        result.
    """
    if seconds is None:
      seconds = STOP_SECONDS if result is None else FINISH_SECONDS
    self._put('finish', result)
    if self._on:
      self._thread.join(seconds)
    if self._thread.is_alive():
      self._off(f'it did not finish within {seconds:g} s')

  def _put(self, method: str, *arguments: Any) -> None:
    if self._on:
      try:
        self._calls.put_nowait((method, arguments))
      except queue.Full:
        self._off(f'it is {BEHIND:,} lines behind')

  def _work(self) -> None:
    while self._on:
      method, arguments = self._calls.get()
      try:
        getattr(self._logger, method)(*arguments)
      except BaseException as error:  # SystemExit too: the run goes on
        said = (str(error).strip().splitlines() or [''])[0]
        self._off(f'{method}: {type(error).__name__}: {said}')
      if method == 'finish':
        return

  def _off(self, why: str) -> None:
    """Gives the logger up, and says so once."""
    with self._lock:
      if not self._on:
        return
      self._on = False
    logging.warning(
      'the logger %s is off, the run goes on without it: %s', self._name, why
    )
