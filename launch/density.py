"""Density of a finished run's activations: the share that isn't zero.

  python -m launch.density --workdir=runs/deft_rte

One row a layer, their mean, and the mean over real tokens only
(glue_jax/probes/activation_density.py), in percent.
"""

import sys

from absl import app, flags, logging

from glue_jax.objectives import density as maths
from glue_jax.reporting import tables

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run.')
_SEED = flags.DEFINE_integer('seed', None, 'Which seed of several.')
_SPLIT = flags.DEFINE_string('split', 'validation', 'Split to look at.')
_DATA_DIR = flags.DEFINE_string(
  'data_dir', None, 'Data folder, if not that of the run.'
)
_THRESHOLD = flags.DEFINE_float(
  'threshold', maths.THRESHOLD, 'Smaller values are zeros.', lower_bound=0
)


def main(argv: list[str]) -> None:
  """Measures and prints the table."""
  if len(argv) > 1:
    raise app.UsageError(f'unexpected arguments {argv[1:]}; flags need --')
  if not flags.FLAGS['verbosity'].present:
    logging.set_verbosity(logging.WARNING)  # the reader of checkpoints talks
  # Imported here so that --help and a wrong flag answer at once.
  from glue_jax.probes import activation_density
  from glue_jax.training import checkpoint

  try:
    found = activation_density.of_run(
      _WORKDIR.value, _SPLIT.value, _SEED.value, _DATA_DIR.value,
      _THRESHOLD.value,
    )  # fmt: skip
  except (ValueError, OSError, checkpoint.CheckpointError) as error:
    logging.debug('', exc_info=True)
    sys.exit(f'error: {error}')
  shares = found['layers'] | {
    'all layers': found['density'],
    'all layers, real tokens': found['density_real'],
  }
  rows = [{'layer': n, 'density %': 100 * x} for n, x in shares.items()]
  print(tables.results_table(rows))
  print(f'{found["examples"]} examples of {_SPLIT.value}')


if __name__ == '__main__':
  flags.mark_flag_as_required('workdir')
  app.run(main)
