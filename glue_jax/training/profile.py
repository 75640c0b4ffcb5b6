"""A trace of some steps of a run, for XProf and Perfetto.

It lies in `profile/` of the run's folder: `plugins/profile/<time>/` holds
`<host>.xplane.pb`, which XProf and TensorBoard's profile plugin open
(`xprof --logdir=WORKDIR/profile`), and perfetto_trace.json.gz, which
https://ui.perfetto.dev opens.
"""

import contextlib
import dataclasses
import pathlib
import re
from typing import Any

import jax
from absl import logging

from glue_jax.reporting import files

FOLDER = 'profile'


@dataclasses.dataclass(frozen=True)
class Window:
  """Steps that are traced.

  Attributes:
    first: number of the first one; the run's first is 1, and compiles.
    count: how many.
  """

  first: int
  count: int

  @property
  def last(self) -> int:
    return self.first + self.count - 1


def parse(text: str) -> Window:
  """Reads 'FIRST:COUNT'.

  Raises:
    ValueError: it is something else, or a number below 1.
  """
  found = re.fullmatch(r'(\d+):(\d+)', text.strip(), re.ASCII)
  window = Window(*map(int, found.groups())) if found else Window(0, 0)
  if window.first < 1 or window.count < 1:
    raise ValueError(
      f'profile={text!r}; expected FIRST:COUNT, the number of a step (1 is the '
      'first) and how many from there on, as in 20:5'
    )
  return window


class Profile(contextlib.AbstractContextManager):
  """Traces a window of a run's steps, on process 0.

  Args:
    window: None for none.
    workdir: of the run.
    start: steps that were finished when the run was started.
  """

  def __init__(self, window: Window | None, workdir: pathlib.Path, start: int):
    self._window = window if files.is_first_process() else None
    self._folder, self._start = workdir / FOLDER, start
    self._on = self._done = False

  def step(self, number: int) -> contextlib.AbstractContextManager:
    """Surrounds a step.

    Args:
      number: of the step; the run's first is 1.
    """
    window = self._window
    if window is None or self._done:
      return contextlib.nullcontext()
    if not self._on and window.first <= number <= window.last:
      self._begin(number)
    if not self._on:
      return contextlib.nullcontext()
    return jax.profiler.StepTraceAnnotation('train', step_num=number)

  def taken(self, number: int, results: Any) -> None:
    """Ends the trace after its last step.

    Args:
      number: of the step that was taken.
      results: arrays of the step, to wait for.
    """
    if self._on and self._window and number >= self._window.last:
      jax.block_until_ready(results)
      self._end(number)

  def __exit__(self, *exception: object) -> None:
    """Ends a trace that the run cut off, and says what was not traced."""
    window = self._window
    if window is None or self._done or (exception and exception[0]):
      if self._on:
        self._end(None)
      return
    if self._on:
      self._end(None)
      logging.warning(
        'profile: the run ended within the steps %d to %d; those it took are '
        'in %s',
        window.first,
        window.last,
        self._folder,
      )
    else:
      logging.warning(
        'profile: nothing was traced; this start of the run took no step '
        'from %d to %d',
        window.first,
        window.last,
      )

  def _begin(self, number: int) -> None:
    try:
      options = jax.profiler.ProfileOptions()
      options.python_tracer_level = 0  # each call of Python: slow, and huge
      jax.profiler.start_trace(
        str(self._folder), create_perfetto_trace=True, profiler_options=options
      )
      self._on = True
      logging.info('profile: from step %d', number)
    except Exception as error:  # of the profiler: no reason to end the run
      self._failed(error)

  def _end(self, number: int | None) -> None:
    self._on, self._done = False, True
    try:
      jax.profiler.stop_trace()
      said = '' if number is None else f' to step {number}'
      logging.info('profile:%s, written to %s', said, self._folder)
    except Exception as error:
      self._failed(error)

  def _failed(self, error: Exception) -> None:
    self._done = True
    said = (str(error).splitlines() or [''])[0]
    logging.warning('profile: %s: %s', type(error).__name__, said)
