"""Averages what finished runs predict, with a temperature of development rows.

  python -m launch.study ensemble --runs=runs/rte/seed_0,runs/rte/seed_1 \\
    --split=test --tune=validation --out=runs/rte_ensemble

A run of several seeds stands for all of them. Prints the scores of every member
and of the ensemble where the split has labels; writes result.json and
predictions/<split>.jsonl. --tune names labelled rows other than the reported
ones; without it the mean is taken as it is.
"""

from absl import flags

FLAGS = flags.FLAGS


def define_flags() -> None:
  """The flags of this study."""
  flags.DEFINE_list('runs', None, 'Folders of finished runs of one task.')
  flags.DEFINE_string('split', 'test', 'What is predicted and reported.')
  flags.DEFINE_string('tune', '', 'Split that the temperature is chosen on.')
  flags.DEFINE_string('out', None, 'Folder to write.')
  flags.DEFINE_string('data_dir', None, 'If not that of the runs.')
  flags.mark_flags_as_required(['runs', 'out'])


def main(argv: list[str]) -> None:
  """Joins the runs and prints the table."""
  del argv
  # Imported here so that a wrong flag answers at once.
  from glue_jax.reporting import outputs
  from glue_jax.studies import ensemble

  outputs.refuse(FLAGS.out, FLAGS.runs)
  print(
    ensemble.run(FLAGS.runs, FLAGS.split, FLAGS.out, FLAGS.tune, FLAGS.data_dir)
  )
  print(f'written to {FLAGS.out}')
