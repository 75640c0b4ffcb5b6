"""Density of a finished run's activations: the share that isn't zero.

  python -m launch.probe density --workdir=runs/deft_rte

One row a layer, their mean, and the mean over real tokens only
(glue_jax/probes/activation_density.py), in percent.
"""

from absl import flags

from launch.cli import command

FLAGS = flags.FLAGS


def define_flags() -> None:
  """The flags of this probe."""
  from glue_jax.objectives import density

  command.define_run('data_dir')
  flags.DEFINE_string('split', 'validation', 'Split to look at.')
  flags.DEFINE_float(
    'threshold', density.THRESHOLD, 'Smaller values are zeros.', lower_bound=0
  )


def main(argv: list[str]) -> None:
  """Measures and prints the table."""
  del argv
  from glue_jax.probes import activation_density
  from glue_jax.reporting import tables
  from glue_jax.weights import run_folder

  run = run_folder.one(FLAGS.workdir, FLAGS.stage, FLAGS.seed)
  density = activation_density.of_run(
    run.path, FLAGS.split, None, FLAGS.data_dir, FLAGS.threshold
  )
  shares = density['layers'] | {
    'all layers': density['density'],
    'all layers, real tokens': density['density_real'],
  }
  rows = [{'layer': n, 'density %': 100 * x} for n, x in shares.items()]
  print(tables.results_table(rows))
  print(f'{density["examples"]} examples of {FLAGS.split}')
