"""Importance of the feed-forward neurons of a finished run, for `moebert`.

  python -m launch.probe importance --workdir=runs/rte --output=rte.npz \\
    --limit=1000

Sums, over labelled examples, how much each neuron contributes to the loss
(glue_jax/compress/moebert.py). Of the training split unless --split says
otherwise: the released code looks at the development set, which then is no
longer unseen. Writes an .npz with one array (F,) a layer.
"""

from absl import flags

from launch.cli import command
from launch.probes.parts import arrays

FLAGS = flags.FLAGS


def define_flags() -> None:
  """The flags of this probe."""
  command.define_run('data_dir')
  arrays.define_output()
  flags.DEFINE_string('split', 'train', 'Split to look at.')
  flags.DEFINE_integer('limit', None, 'Examples at most.', lower_bound=1)


def main(argv: list[str]) -> None:
  """Computes and writes the importance."""
  del argv
  # Imported here so that a wrong flag answers at once.
  from glue_jax.probes import neuron_importance
  from glue_jax.weights import run_folder

  run = run_folder.one(FLAGS.workdir, FLAGS.stage, FLAGS.seed)
  scores, count = neuron_importance.of_run(
    run.path, FLAGS.split, None, FLAGS.limit, FLAGS.data_dir
  )
  arrays.write(scores)
  print(f'{count} examples of {FLAGS.split}, written to {FLAGS.output}')
