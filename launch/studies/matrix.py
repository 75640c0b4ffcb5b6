"""All combinations of ways of tuning, backbones, optimizers and penalties.

  python -m launch.study matrix --workdir=runs/matrix \\
    --tune=full,lora --backbone=bert,ponet --optimizer=adamw
  python -m launch.study matrix --workdir=runs/matrix --cells=covering
  python -m launch.study matrix --workdir=runs/minilm --backbone=minilm

An axis that isn't given takes all its parts (configs/suites/matrix.py), the
backbone all but `minilm`. --cells=covering runs few cells in which any two
parts meet. Each cell is a run of `launch.train`; finished ones aren't run
again. Prints one table and writes it to <workdir>/matrix.md; cells whose parts
make no sense together come with the reason.
"""

import importlib
import pathlib

from absl import app, flags

from launch.cli import command

FLAGS = flags.FLAGS


def define_flags() -> None:
  """The flags of this study."""
  flags.DEFINE_string('workdir', None, 'Folder of the cells.')
  for axis in ('tune', 'backbone', 'optimizer', 'regularizer'):
    flags.DEFINE_list(axis, [], f'Parts of the axis {axis}; all by default.')
  flags.DEFINE_enum(
    'cells', 'all', ['all', 'covering'], 'All, or any two parts at least once.'
  )
  flags.mark_flag_as_required('workdir')


def main(argv: list[str]) -> None:
  """Runs the cells that are missing and prints the table."""
  del argv
  # Imported here so that a wrong flag answers at once.
  from glue_jax.reporting import files, tables
  from glue_jax.studies import matrix

  command.show_training()
  file = importlib.import_module('configs.suites.matrix')
  wanted = {axis: FLAGS[axis].value for axis in file.AXES}
  try:
    if not wanted['backbone']:
      wanted['backbone'] = [b for b in file.BACKBONE if b != 'minilm']
    axes = matrix.choose(file.AXES, wanted)
  except ValueError as error:
    raise app.UsageError(str(error)) from error
  every = {'all': matrix.combinations, 'covering': matrix.covering}
  rows, folder = [], pathlib.Path(FLAGS.workdir)
  for cell in every[FLAGS.cells](axes):
    labels = dict(zip(axes, cell))
    config = file.get_config(','.join(cell))
    rows.append(matrix.run(config, folder / '_'.join(cell), labels))
    print(*rows[-1].values(), sep='  ', flush=True)
  # Reasons may list every name of a model: whole in row.json, cut here.
  rows = [
    {k: v[:70] if isinstance(v, str) else v for k, v in row.items()}
    for row in rows
  ]
  table = tables.results_table(rows, markdown=True)
  files.replace_text(folder / 'matrix.md', table + '\n')
  print(table)
