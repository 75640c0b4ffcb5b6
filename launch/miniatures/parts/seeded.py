"""What miniatures that train from several seeds have in common."""

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator

from absl import flags

FLAGS = flags.FLAGS


def define_flags(seeds: int, steps: int, least: int) -> None:
  """Defines --seeds, --steps and --workdir.

  Args:
    seeds: runs of each arm, where none are given.
    steps: updates of a run, where none are given.
    least: lower bound of `steps`.
  """
  flags.DEFINE_integer('seeds', seeds, 'Runs of each arm.', lower_bound=1)
  flags.DEFINE_integer('steps', steps, 'Updates.', lower_bound=least)
  flags.DEFINE_string('workdir', None, 'Folder kept; default: a temporary one.')


@contextlib.contextmanager
def workdir() -> Iterator[pathlib.Path]:
  """Gives the folder of --workdir, or a temporary one."""
  with tempfile.TemporaryDirectory() as folder:
    yield pathlib.Path(FLAGS.workdir or folder)
