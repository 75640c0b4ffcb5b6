"""Input norms of the model that a config starts from, for `wanda`.

  python -m launch.probe input-norms --config=configs/finetune/deft.py:rte \\
    --output=rte.npz

Runs the first training examples through the model, without the config's
methods, and writes an .npz with one array (in,) for each linear layer of the
blocks (glue_jax/compress/wanda.py).
"""

from absl import flags

from launch.cli import config_flag
from launch.probes.parts import arrays

FLAGS = flags.FLAGS


def define_flags() -> None:
  """The flags of this probe."""
  config_flag.define()
  arrays.define_output()
  flags.DEFINE_integer(
    'examples', 128, 'Training examples at most.', lower_bound=1
  )
  flags.mark_flag_as_required('config')


def main(argv: list[str]) -> None:
  """Measures and writes the norms."""
  del argv
  # Imported here so that a wrong flag answers at once.
  from glue_jax.probes import input_norms

  norms, count = input_norms.of_config(FLAGS.config, FLAGS.examples)
  arrays.write(norms)
  print(f'{len(norms)} layers over {count} examples, written to {FLAGS.output}')
