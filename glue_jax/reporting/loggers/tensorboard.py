"""TensorBoard: event files in the run's folder `tb/`.

tensorboard --logdir=runs
"""

from collections.abc import Mapping
from typing import Any

from glue_jax.reporting import event_files
from glue_jax.reporting.logger import Run


class TensorBoard:
  """Writes event files; neither TensorFlow nor TensorBoard is needed."""

  _events: event_files.EventFile

  def start(self, run: Run) -> None:
    """Opens a file; TensorBoard drops earlier files' steps from here on."""
    following = None if run.resumed is None else run.resumed + 1
    self._events = event_files.EventFile(run.workdir / 'tb', following)

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """Writes one event."""
    self._events.scalars(step, values)

  def finish(self, result: Mapping[str, Any] | None) -> None:
    """Closes the file; the last evaluation of the run holds the result."""
    del result
    self._events.close()


def make() -> TensorBoard:
  """Returns the logger."""
  return TensorBoard()
