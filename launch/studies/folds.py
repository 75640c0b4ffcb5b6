"""Cross-validates a recipe: k runs, each scored on the rows it has not seen.

  python -m launch.study folds --config=configs/own_task.py:mine.yaml \\
    --workdir=runs/mine_folds --folds=5 [--group=author]

The training split is dealt into k folds, stratified by the label where a row
has one class; --group names a column of the data file whose rows stay together.
Each fold is a run of its own in <workdir>/fold_<i>, with the rest as training
rows: the same command goes on where it was stopped. Prints one table and writes
folds.csv, folds.json (mean, sample sd, the score over all rows) and
predictions.jsonl (every row, predicted by a model that has not seen it).
"""

from absl import flags

from launch.cli import command, config_flag

FLAGS = flags.FLAGS


def define_flags() -> None:
  """The flags of this study."""
  config_flag.define()
  flags.DEFINE_string('workdir', None, 'Folder of the runs.')
  flags.DEFINE_integer('folds', 5, 'How many folds.', 2)
  flags.DEFINE_string('group', None, 'Column whose rows stay together.')
  flags.DEFINE_integer('fold_seed', 0, 'Of the deal into folds.', 0)
  command.define_cache()
  flags.mark_flags_as_required(['config', 'workdir'])


def main(argv: list[str]) -> None:
  """Runs the folds and prints their table."""
  del argv
  # Imported here so that a wrong flag answers at once.
  from glue_jax.devices import cpu, distributed
  from glue_jax.studies import folds

  command.show_training()
  cpu.keep_memory()
  distributed.compilation_cache(FLAGS.compilation_cache)
  print(
    folds.run(
      FLAGS.config, FLAGS.workdir, FLAGS.folds, FLAGS.group, FLAGS.fold_seed
    )
  )
  print(f'written to {FLAGS.workdir}')
