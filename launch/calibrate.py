"""Input norms of the model that a config starts from, for `wanda`.

  python -m launch.calibrate --config=configs/finetune/deft.py:rte
  --output=rte.npz

Runs the first training examples through the model, without the config's
methods, and writes an .npz with one array (in,) for each linear layer of the
blocks (glue_jax/compress/wanda.py).
"""

import pathlib
import sys

from absl import app, flags, logging

from launch.cli import config_flag

_CONFIG = config_flag.define()
_OUTPUT = flags.DEFINE_string('output', None, 'File to write (.npz).')
_EXAMPLES = flags.DEFINE_integer(
  'examples', 128, 'Training examples at most.', lower_bound=1
)


def main(argv: list[str]) -> None:
  """Measures and writes the norms."""
  if len(argv) > 1:
    raise app.UsageError(f'unexpected arguments {argv[1:]}; flags need --')
  # Imported here so that --help and a wrong flag answer at once.
  import numpy as np

  from glue_jax.probes import input_norms

  try:
    norms, count = input_norms.of_config(_CONFIG.value, _EXAMPLES.value)
    path = pathlib.Path(_OUTPUT.value)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('wb') as file:
      np.savez(file, **norms)
  except (ValueError, OSError) as error:
    logging.debug('', exc_info=True)
    sys.exit(f'error: {error}')
  print(f'{len(norms)} layers over {count} examples, written to {path}')


if __name__ == '__main__':
  flags.mark_flags_as_required(['config', 'output'])
  app.run(main)
