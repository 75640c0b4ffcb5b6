"""Importance of the feed-forward neurons of a finished run, for `moebert`.

  python -m launch.importance --workdir=runs/rte --output=rte.npz --limit=1000

Sums, over labelled examples, how much each neuron contributes to the loss
(glue_jax/compress/moebert.py). Of the training split unless --split says
otherwise: the released code looks at the development set, which then is no
longer unseen. Writes an .npz with one array (F,) a layer.
"""

import pathlib
import sys

from absl import app, flags, logging

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run.')
_OUTPUT = flags.DEFINE_string('output', None, 'File to write (.npz).')
_SEED = flags.DEFINE_integer('seed', None, 'Which seed of several.')
_SPLIT = flags.DEFINE_string('split', 'train', 'Split to look at.')
_LIMIT = flags.DEFINE_integer('limit', None, 'Examples at most.', lower_bound=1)
_DATA_DIR = flags.DEFINE_string(
  'data_dir', None, 'Data folder, if not that of the run.'
)


def main(argv: list[str]) -> None:
  """Computes and writes the importance."""
  if len(argv) > 1:
    raise app.UsageError(f'unexpected arguments {argv[1:]}; flags need --')
  if not flags.FLAGS['verbosity'].present:
    logging.set_verbosity(logging.WARNING)  # the reader of checkpoints talks
  # Imported here so that --help and a wrong flag answer at once.
  import numpy as np

  from glue_jax.probes import neuron_importance
  from glue_jax.training import checkpoint

  try:
    scores, count = neuron_importance.of_run(
      _WORKDIR.value, _SPLIT.value, _SEED.value, _LIMIT.value, _DATA_DIR.value
    )
    path = pathlib.Path(_OUTPUT.value)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('wb') as file:
      np.savez(file, **scores)
  except (ValueError, OSError, checkpoint.CheckpointError) as error:
    logging.debug('', exc_info=True)
    sys.exit(f'error: {error}')
  print(f'{count} examples of {_SPLIT.value}, written to {path}')


if __name__ == '__main__':
  flags.mark_flags_as_required(['workdir', 'output'])
  app.run(main)
