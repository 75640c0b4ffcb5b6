"""What probes leave: an .npz file of arrays."""

from collections.abc import Mapping

import numpy as np
from absl import flags

from glue_jax.reporting import files

FLAGS = flags.FLAGS


def define_output() -> None:
  """Defines --output, the file that `write` writes."""
  flags.DEFINE_string('output', None, 'File to write (.npz).')
  flags.mark_flag_as_required('output')


def write(arrays: Mapping[str, np.ndarray]) -> None:
  """Writes {name: array} to --output."""
  with files.whole(FLAGS.output) as part, part.open('wb') as file:
    np.savez(file, **arrays)
