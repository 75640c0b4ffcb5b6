"""Scores a finished run on any split that has labels.

  python -m launch.evaluate --workdir=runs/rte
  python -m launch.evaluate --workdir=runs/mnli --split=validation_mismatched
  python -m launch.evaluate --workdir=runs/dylora_rte --ranks=1..8

Prints a table and writes, into <workdir>/evaluation/<which> or --output,
metrics.json, the predictions of each split and their figure. A run of several
seeds is scored for each seed (mean and standard deviation) unless --seed is
given, one of several stages for each stage unless --stage is; each has a folder
then, <stage>/seed_<s>. With --ranks the low-rank update of the run (DyLoRA,
LoRA) is cut to each of them in turn: a row of the table and a folder rank_<b>
for each; with --variant the same for each network that a method can run without
another training, 'name=value' of its `variants` (glue_jax/method.py).
"""

import pathlib

from absl import flags

from launch.cli import command

FLAGS = flags.FLAGS


def define_flags() -> None:
  """The flags of this command."""
  command.define_run('which', 'data_dir', 'batch_size')
  flags.DEFINE_list(
    'split', [], "Splits, with commas; by default the task's evaluation splits."
  )
  flags.DEFINE_string(
    'ranks',
    None,
    "Ranks to score at, as '1..8' or '1,2,4'; default: the whole.",
  )
  flags.DEFINE_multi_string(
    'variant', [], "Variant to score, 'name=value'; may be given again."
  )
  flags.DEFINE_string('output', None, 'Folder to write to.')


def main(argv: list[str]) -> None:
  """Scores every stage and seed asked for and prints the table."""
  del argv
  # Imported here so that --help and a wrong flag answer at once.
  from glue_jax.inference import score
  from glue_jax.reporting import tables

  folder = pathlib.Path(FLAGS.workdir) / 'evaluation'
  output = pathlib.Path(FLAGS.output or folder / (FLAGS.which or 'selected'))
  ranks = () if FLAGS.ranks is None else score.parse_ranks(FLAGS.ranks)
  variants = [{'rank': rank} for rank in ranks]
  variants += map(score.parse_variant, FLAGS.variant)
  scores, rows = score.score_workdir(
    FLAGS.workdir,
    output,
    FLAGS.which,
    FLAGS.seed,
    FLAGS.stage,
    FLAGS.split,
    FLAGS.data_dir,
    variants,
    FLAGS.batch_size,
  )
  print(tables.metrics_table(scores, rows))
  print(f'written to {output}')


if __name__ == '__main__':
  command.run(__doc__, define_flags, main, computes=True)
