"""Memory of the first training step of a config, by the compiler's count.

  python -m launch.probe memory --config=configs/finetune/lora.py:rte

Builds the run and compiles its step, but does not run it
(glue_jax/probes/step_memory.py): MB on one device of the parameters, of those
that learn, of the optimizer's state (also that kept for frozen leaves), of what
methods carry besides, of the step's temporary buffers, and their peak.
"""

from absl import flags

from launch.cli import config_flag

FLAGS = flags.FLAGS


def define_flags() -> None:
  """The flags of this probe."""
  config_flag.define()
  flags.DEFINE_string('json', None, 'File for the figures, in bytes.')
  flags.mark_flag_as_required('config')


def main(argv: list[str]) -> None:
  """Compiles the step and prints its memory."""
  del argv
  # Imported here so that a wrong flag answers at once.
  import json

  from glue_jax.config import config
  from glue_jax.probes import step_memory
  from glue_jax.reporting import files, tables

  sizes = step_memory.of_step(config.complete(FLAGS.config))
  rows = [{'part': name, 'MB': size / 1e6} for name, size in sizes.items()]
  print(tables.results_table(rows))
  if FLAGS.json:
    files.replace_text(FLAGS.json, json.dumps(sizes, indent=2) + '\n')
