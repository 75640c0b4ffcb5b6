"""Tokens that the model of a config is unsure of, for `self_evolution`.

  python -m launch.probe score-tokens \\
    --config=configs/pretrain/self_evolution.py:corpus --output=hard.npz

Reads the training rows once, unmasked, and writes of each row the tokens whose
-log p exceeds --threshold, the hardest first, with the hashes of rows and model
(glue_jax/data/hard_tokens.py); then give --config.data.hard_tokens=hard.npz.
"""

from absl import flags

from launch.cli import config_flag
from launch.probes.parts import arrays

FLAGS = flags.FLAGS


def define_flags() -> None:
  """The flags of this probe."""
  config_flag.define()
  arrays.define_output()
  flags.DEFINE_float(
    'threshold', 0.1, 'Loss above which a token is hard.', lower_bound=0
  )
  flags.DEFINE_enum(
    'metric', 'loss', ['loss', 'correctness'],
    'What a hard token is: of a high loss, or one that is not the likeliest.',
  )  # fmt: skip
  flags.mark_flag_as_required('config')


def main(argv: list[str]) -> None:
  """Scores the corpus and writes the file."""
  del argv
  # Imported here so that a wrong flag answers at once.
  from glue_jax.data import hard_tokens
  from glue_jax.probes import token_scores

  examples, places, model = token_scores.of_config(
    FLAGS.config, FLAGS.threshold, FLAGS.metric
  )
  hard_tokens.write(FLAGS.output, examples, places, model)
  count, words = sum(map(len, places)), int((examples.word_ids >= 0).sum())
  print(
    f'{count} of {words} tokens ({count / words:.1%}) are hard, in '
    f'{sum(map(bool, map(len, places)))} of {len(examples)} rows; written to '
    f'{FLAGS.output}'
  )
