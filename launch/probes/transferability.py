"""Which source's prompt suits a task, for `prompt_transfer`.

  python -m launch.probe transferability \\
    --config=configs/finetune/prefix.py:cb \\
    --sources=runs/prefix_mnli,runs/prefix_sst2 --output=similarity.npz

Prints the similarity of each source's task with that of the config, by the
source's own prompt (glue_jax/objectives/transferability.py, a definition of
ours), the most similar first; with --output, writes the first one's for
--config.methods='[["prompt_transfer", {"similarity": "similarity.npz", ...}]]'.
"""

from absl import flags

from launch.cli import config_flag

FLAGS = flags.FLAGS


def define_flags() -> None:
  """The flags of this probe."""
  config_flag.define()
  flags.DEFINE_list('sources', [], 'Workdirs of finished prompts.')
  flags.DEFINE_integer(
    'examples', 100, 'Training examples of each task at most.', lower_bound=1
  )
  flags.DEFINE_string('output', None, 'File to write (.npz).')
  flags.mark_flags_as_required(['config', 'sources'])


def main(argv: list[str]) -> None:
  """Measures and prints the table."""
  del argv
  # Imported here so that a wrong flag answers at once.
  import numpy as np

  from glue_jax.probes import transferability
  from glue_jax.reporting import files, tables

  ranked = transferability.of_sources(
    FLAGS.config, FLAGS.sources, FLAGS.examples
  )
  rows = [{'source': name, 'similarity': value} for name, value in ranked]
  print(tables.results_table(rows))
  if FLAGS.output:
    with files.whole(FLAGS.output) as part, part.open('wb') as file:
      np.savez(file, similarity=np.float32(ranked[0][1]))
    print(f'{ranked[0][0]}: written to {FLAGS.output}')
