"""Exports a finished run for other programs.

  python -m launch.export --workdir=runs/rte --output=rte_hf
  python -m launch.export --workdir=runs/rte --format=stablehlo --output=rte_hlo
  python -m launch.export --workdir=runs/dylora_rte --rank=4 --output=rte_rank_4

hf: a folder that transformers' AutoModel classes load, with a model card.
stablehlo: a folder with a program of input_ids, attention_mask and
token_type_ids by jax.export; --batch and --length fix sizes, else any size
will do. Read it with glue_jax.export.huggingface.load_stablehlo. --rank: what
is merged of a low-rank update (DyLoRA, LoRA); the card and the signature name
it.
"""

import pathlib
import sys

from absl import app, flags, logging

from glue_jax.export import stablehlo
from glue_jax.inference import open_run
from glue_jax.reporting import files

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run.')
_WHICH = flags.DEFINE_enum(
  'which',
  None,
  ['best', 'last'],
  'Which checkpoint; by default the one that the config selects.',
)
_SEED = flags.DEFINE_integer('seed', None, 'Which seed of several.')
_FORMAT = flags.DEFINE_enum('format', 'hf', ['hf', 'stablehlo'], 'Form.')
_OUTPUT = flags.DEFINE_string('output', None, 'Folder to write.')
_RANK = flags.DEFINE_integer('rank', None, 'Rank to merge; default: whole.')
_BATCH = flags.DEFINE_integer('batch', None, 'StableHLO: fixed batch size.')
_LENGTH = flags.DEFINE_integer('length', None, 'StableHLO: fixed length.')


def main(argv: list[str]) -> None:
  """Loads the run and writes the folder."""
  if len(argv) > 1:
    raise app.UsageError(f'unexpected arguments {argv[1:]}; flags need --')
  fixed = _BATCH.value is not None or _LENGTH.value is not None
  if fixed and _FORMAT.value != 'stablehlo':
    raise app.UsageError('--batch and --length go with --format=stablehlo')
  if not flags.FLAGS['verbosity'].present:
    logging.set_verbosity(logging.WARNING)  # the reader of checkpoints talks
  # Imported here so that --help and a wrong flag answer at once.
  from glue_jax.export import huggingface
  from glue_jax.training import checkpoint

  try:
    run = open_run.open_run(_WORKDIR.value, _WHICH.value, _SEED.value)
    if _RANK.value is not None:
      run = run.at_rank(_RANK.value)
    folder = pathlib.Path(_WORKDIR.value)
    if _SEED.value is not None and list(folder.glob('seed_*')):
      folder = folder / f'seed_{_SEED.value}'
    hf = _FORMAT.value == 'hf'
    card = huggingface.card(run, folder, 'transformers' if hf else 'jax')
    if hf:
      huggingface.save_hf(run, _OUTPUT.value, card)
    else:
      stablehlo.save_stablehlo(
        run, _OUTPUT.value, batch=_BATCH.value, length=_LENGTH.value
      )
      files.replace_text(pathlib.Path(_OUTPUT.value) / 'README.md', card)
  except (ValueError, OSError, checkpoint.CheckpointError) as error:
    logging.debug('', exc_info=True)
    sys.exit(f'error: {error}')
  print(f'step {run.step} of {_WORKDIR.value} written to {_OUTPUT.value}')


if __name__ == '__main__':
  flags.mark_flags_as_required(['workdir', 'output'])
  app.run(main)
