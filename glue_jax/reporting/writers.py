"""What a run leaves behind while it runs: metrics, loggers, a bar.

All of it is written by process 0 only; on the others every call does nothing.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from glue_jax.config import config as config_lib
from glue_jax.reporting import logger
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
  """A bar with rate and remaining time; plain lines without a terminal.

  It falls silent when nobody is left to read it (a closed pipe or terminal).

  Args:
    total: steps of the whole run.
    start: steps done before (a resumed run).
    name: what is counted, shown first.
    interval: seconds between plain lines.
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
    self._start, self._began = start, time.monotonic()
    self._interval, self._printed = interval, self._began
    self._bar = None
    with self._heard():
      if self.enabled and self._stream.isatty():
        self._bar = self._new_bar()

  def _new_bar(self):
    from tqdm import tqdm

    return tqdm(
      total=self._total,
      initial=self._start,
      desc=self._name,
      file=self._stream,
      dynamic_ncols=True,
      mininterval=0.2,
    )

  def update(
    self, step: int, values: Mapping[str, float] | None = None
  ) -> None:
    """Moves to `step` (steps done); `values` stand at the end of the line."""
    if not self.enabled:
      return
    text = ' '.join(f'{name}={v:.4g}' for name, v in (values or {}).items())
    with self._heard():
      self._update(step, text)

  def _update(self, step: int, text: str) -> None:
    if self._bar is not None:
      if text:
        self._bar.set_postfix_str(text, refresh=False)
      self._bar.update(step - self._step)
      self._step = step
      return
    self._step = step
    now = time.monotonic()
    if now - self._printed < self._interval and step < self._total:
      return
    self._printed = now
    self._line(now, text)

  def message(self, text: str) -> None:
    """Prints a line without breaking the bar."""
    if not self.enabled:
      return
    with self._heard():
      if self._bar is not None:
        self._bar.write(text, file=self._stream)
      else:
        print(text, file=self._stream, flush=True)

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

  def _line(self, now: float, text: str) -> None:
    rate = (self._step - self._start) / max(now - self._began, 1e-9)
    left = duration((self._total - self._step) / rate) if rate else 'unknown'
    done = f'{self._step}/{self._total}'
    share = f'{100 * self._step / max(self._total, 1):.0f}%'
    line = f'{self._name} {done} ({share}) {rate:.2f} steps/s, {left} left'
    print(f'{line} {text}'.rstrip(), file=self._stream, flush=True)


def duration(seconds: float) -> str:
  """Seconds as text: '8s', '3m05s', '2h07m'."""
  seconds = round(seconds)
  if seconds < 60:
    return f'{seconds}s'
  if seconds < 3600:
    return f'{seconds // 60}m{seconds % 60:02d}s'
  return f'{seconds // 3600}h{seconds // 60 % 60:02d}m'
