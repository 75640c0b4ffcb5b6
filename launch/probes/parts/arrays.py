"""What probes leave: an .npz file of arrays."""

import pathlib
from collections.abc import Mapping

import numpy as np
from absl import flags

FLAGS = flags.FLAGS


def define_output() -> None:
  """Defines --output, the file that `write` writes."""
  flags.DEFINE_string('output', None, 'File to write (.npz).')
  flags.mark_flag_as_required('output')


def write(arrays: Mapping[str, np.ndarray]) -> None:
  """Writes {name: array} to --output."""
  path = pathlib.Path(FLAGS.output)
  path.parent.mkdir(parents=True, exist_ok=True)
  with path.open('wb') as file:
    np.savez(file, **arrays)
