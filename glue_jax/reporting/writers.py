"""What a run leaves behind while it runs: metrics, loggers, a bar.

All of it is written by process 0 only; on the others every call does nothing.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

from glue_jax.config import config as config_lib
from glue_jax.reporting import live_table, logger
from glue_jax.reporting.files import (
  append_line,
  is_first_process,
  read_lines,
  replace_text,
)


class Writer:
  """Scalars of a run, as JSON lines and to its loggers.

  `metrics.jsonl` holds only what a repetition of the run reproduces: after a
  crash and a resume it is, byte for byte, the file of an uninterrupted run.
  What depends on the machine (rates, times) goes to `timings.jsonl`. A value
  that is not finite is written as null, as JSON has no other word for it.
  Nothing is touched before the first line: a start that fails leaves no trace.

  Args:
    workdir: folder of the run, created if missing.
    start_step: None for a new run, which replaces earlier files; else the
      step that was restored: later lines are cut off and writing goes on.
    enabled: None = process 0 only.
    loggers: {name: logger}; default: those of a config that names none.
    about: what loggers are told of the run.

  Raises:
    ValueError: an earlier metrics file has a line that is not JSON.
    OSError: the folder cannot be written.
  """

  def __init__(
    self,
    workdir: str | os.PathLike,
    start_step: int | None = None,
    enabled: bool | None = None,
    loggers: Mapping[str, logger.Logger] | None = None,
    about: logger.Run | None = None,
  ):
    self.enabled = is_first_process() if enabled is None else enabled
    if not self.enabled:
      return
    self._folder, self._start = pathlib.Path(workdir), start_step
    self._metrics = self._folder / 'metrics.jsonl'
    self._timings = self._folder / 'timings.jsonl'
    if loggers is None:
      loggers = logger.make(config_lib.DEFAULTS['loggers'])
    self._loggers = loggers
    about = about or logger.Run(self._folder)
    self._about = dataclasses.replace(about, resumed=start_step)
    self._guards: list[logger.Guard] | None = None
    if start_step is not None and self._metrics.exists():
      read_lines(self._metrics)

  def __enter__(self) -> 'Writer':
    return self

  def __exit__(self, *exception: object) -> None:
    self.close()

  def scalars(self, step: int, values: Mapping[str, Any]) -> None:
    """Writes one line {"step": step, name: value, ...}."""
    self._write('_metrics', step, values)

  def timings(self, step: int, values: Mapping[str, Any]) -> None:
    """As `scalars`, for what differs from run to run."""
    self._write('_timings', step, values)

  def close(self, result: Mapping[str, Any] | None = None) -> None:
    """Ends the loggers; what follows is no longer written.

    Args:
      result: of the run; None where it didn't reach its end.
    """
    if not self.enabled:
      return
    # A run that had only its result left to write has no line before it.
    guards = self._open() if result is not None else self._guards or []
    for guard in guards:
      guard.finish(result)
    self.enabled = False

  def _open(self) -> list[logger.Guard]:
    """The loggers; the first call starts them and opens or replaces files."""
    if self._guards is None:
      self._folder.mkdir(parents=True, exist_ok=True)
      for path in (self._metrics, self._timings):
        truncate(path, self._start)
      self._guards = [logger.Guard(*item) for item in self._loggers.items()]
      for guard in self._guards:
        guard.start(self._about)
    return self._guards

  def _write(self, file: str, step: int, values: Mapping[str, Any]) -> None:
    if not self.enabled:
      return
    numbers = {name: float(value) for name, value in values.items()}
    guards = self._open()
    append_line(getattr(self, file), {'step': int(step)} | numbers)
    for guard in guards:
      guard.scalars(int(step), numbers)


def truncate(path: str | os.PathLike, step: int | None) -> None:
  """Cuts a metrics file back to its lines up to `step`; None removes it."""
  path = pathlib.Path(path)
  if not path.exists():
    return
  if step is None:
    path.unlink()
    return
  kept = [r for r in read_lines(path) if r.get('step', 0) <= step]
  replace_text(path, ''.join(json.dumps(r) + '\n' for r in kept))


class Progress:
  """A bar with rate and remaining time above which a table grows.

  Without a terminal there is no bar, and the table has a row every few seconds
  beside those of the evaluations, see live_table.py. It falls silent when
  nobody is left to read it (a closed pipe or terminal).

  Args:
    total: steps of the whole run.
    start: steps done before (a resumed run).
    name: what is counted, shown first.
    interval: seconds between two rows without a terminal.
    stream: default standard error.
    enabled: None = process 0 only.
  """

  def __init__(
    self,
    total: int,
    start: int = 0,
    name: str = 'train',
    interval: float = 10.0,
    stream: TextIO | None = None,
    enabled: bool | None = None,
  ):
    self.enabled = is_first_process() if enabled is None else enabled
    self._stream = stream or sys.stderr
    self._total, self._step, self._name = total, start, name
    self._start = start
    self._interval, self._printed = interval, time.monotonic()
    # The first step compiles: the rate is of those after it.
    self._timed: tuple[int, float] | None = None
    self._values: Mapping[str, float] = {}
    self._bar = None
    width = 80
    with self._heard():
      if self.enabled and self._stream.isatty():
        self._bar = self._new_bar()
        width = max(width, shutil.get_terminal_size().columns)
    self._table = live_table.LiveTable(total, width)

  def _new_bar(self):
    from tqdm import tqdm

    return tqdm(
      total=self._total,
      initial=self._start,
      desc=self._name,
      file=self._stream,
      dynamic_ncols=True,
      mininterval=0.2,
      unit='step',
    )

  def ends(self, total: int) -> None:
    """Says that the run has so many steps now."""
    self._total = self._table.total = total
    if self._bar is not None:
      self._bar.total = total

  def update(
    self, step: int, values: Mapping[str, float] | None = None
  ) -> None:
    """Moves to `step` (steps done).

    Args:
      step: finished steps.
      values: means since they were given last; they become a row.
    """
    if not self.enabled:
      return
    now = time.monotonic()
    if self._timed is None:
      self._timed = (step, now)
    self._values = values or self._values
    with self._heard():
      if self._bar is not None:
        if 'loss' in (values or {}):
          loss = live_table.number(self._values['loss'])
          self._bar.set_postfix_str(f'loss={loss}', refresh=False)
        self._bar.update(step - self._step)
        self._step = step
        return
      self._step = step
      late = now - self._printed >= self._interval
      if values and (late or step >= self._total):
        self._row(now)

  def evaluated(
    self, step: int, metrics: Mapping[str, Mapping[str, float]]
  ) -> None:
    """Adds an evaluation to the table, below the steps before it.

    Args:
      step: finished steps.
      metrics: {split: {metric: value}}.
    """
    if not self.enabled:
      return
    self._step = max(step, self._step)
    with self._heard():
      if self._values:
        self._row(time.monotonic())
      self._say(self._table.rows(step, metrics))

  def message(self, text: str) -> None:
    """Prints a line without breaking the bar."""
    if self.enabled:
      with self._heard():
        self._say([text])

  def close(self) -> None:
    """Leaves the bar as it is and goes to the next line."""
    if self._bar is not None:
      with self._heard():
        self._bar.close()
      self._bar = None

  @contextlib.contextmanager
  def _heard(self) -> Iterator[None]:
    try:
      yield
    except (OSError, ValueError):  # ValueError: the stream itself was closed
      self.enabled, self._bar = False, None

  def _say(self, lines: Sequence[str]) -> None:
    for line in lines:
      if self._bar is not None:
        self._bar.write(line, file=self._stream)
      else:
        print(line, file=self._stream, flush=True)

  def _row(self, now: float) -> None:
    """A row of the steps since the last one."""
    step, began = self._timed or (self._step, now)
    rate, left = '-', '-'
    if self._step > step and now > began:
      speed = (self._step - step) / (now - began)
      rate, left = f'{speed:.2f}', duration((self._total - self._step) / speed)
    self._printed = now
    rows = self._table.rows(self._step, {self._name: self._values}, rate, left)
    self._values = {}
    self._say(rows)


def duration(seconds: float) -> str:
  """Seconds as text: '8s', '3m05s', '2h07m'."""
  seconds = round(seconds)
  if seconds < 60:
    return f'{seconds}s'
  if seconds < 3600:
    return f'{seconds // 60}m{seconds % 60:02d}s'
  return f'{seconds // 3600}h{seconds // 60 % 60:02d}m'
