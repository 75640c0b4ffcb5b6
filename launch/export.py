"""Exports a finished run for other programs.

  python -m launch.export --workdir=runs/rte --output=rte_hf
  python -m launch.export --workdir=runs/rte --format=stablehlo --output=rte_hlo
  python -m launch.export --workdir=runs/dylora_rte --rank=4 --output=rte_rank_4

hf: a folder that transformers' AutoModel classes load, with a model card. Not
for runs whose leaves don't merge into the plain model (adapters, prefixes,
prompts, MEFT, fusion), nor for layers that transformers lacks.
stablehlo: a folder with a program of input_ids, attention_mask and
token_type_ids by jax.export, for every run; --batch and --length fix sizes,
else any size will do. jax alone reads it, as its README.md shows, or
glue_jax.export.stablehlo.load_stablehlo. --rank: what is merged of a low-rank
update (DyLoRA, LoRA). --variant: which part of the model, as in
launch.evaluate. The card and the signature name both.

--push=OWNER/NAME sends what was written to that repository of the Hugging Face
Hub, in one commit, with the token of HF_TOKEN or `hf auth login`. A repository
that it makes is private unless --public says otherwise: what a model learnt can
be shown later, but not be taken back. The card holds the run's config, with the
paths of this machine that stand there.
  python -m launch.export --workdir=runs/rte --output=rte_hf --push=me/rte
"""

import pathlib

from absl import app, flags

from launch.cli import command

FLAGS = flags.FLAGS


def define_flags() -> None:
  """The flags of this command."""
  command.define_run('which')
  flags.DEFINE_enum('format', 'hf', ['hf', 'stablehlo'], 'Form.')
  flags.DEFINE_string('output', None, 'Folder to write.')
  flags.DEFINE_integer('rank', None, 'Rank to merge; default: whole.')
  flags.DEFINE_string('variant', None, "Variant, 'name=value'; default: whole.")
  flags.DEFINE_integer('batch', None, 'StableHLO: fixed batch size.')
  flags.DEFINE_integer('length', None, 'StableHLO: fixed length.')
  flags.DEFINE_string('push', None, 'Repository of the hub: OWNER/NAME.')
  flags.DEFINE_bool('public', False, 'Whether a repository it makes is public.')
  flags.mark_flag_as_required('output')


def main(argv: list[str]) -> None:
  """Loads the run and writes the folder."""
  del argv
  fixed = FLAGS.batch is not None or FLAGS.length is not None
  if fixed and FLAGS.format != 'stablehlo':
    raise app.UsageError('--batch and --length go with --format=stablehlo')
  if FLAGS.public and not FLAGS.push:
    raise app.UsageError('--public goes with --push')
  # Imported here so that --help and a wrong flag answer at once.
  from glue_jax.export import hub, write
  from glue_jax.inference import open_run, score
  from glue_jax.reporting import outputs

  outputs.refuse(FLAGS.output, outputs.of_folder(FLAGS.workdir))
  if FLAGS.push:
    hub.check(FLAGS.push)
  run = open_run.open_run(
    FLAGS.workdir, FLAGS.which, FLAGS.seed, stage=FLAGS.stage
  )
  outputs.refuse(FLAGS.output, outputs.of_folder(run.workdir))
  variant = score.parse_variant(FLAGS.variant) if FLAGS.variant else {}
  if FLAGS.rank is not None:
    variant['rank'] = FLAGS.rank
  if variant:
    run = run.at(**variant)
  names = write.write(
    run, FLAGS.output, FLAGS.format, batch=FLAGS.batch, length=FLAGS.length
  )
  print(f'step {run.step} of {run.workdir} written to {FLAGS.output}')
  if FLAGS.push:
    output = pathlib.Path(FLAGS.output)
    print(f'pushed: {hub.push(output, names, FLAGS.push, FLAGS.public)}')


if __name__ == '__main__':
  command.run(__doc__, define_flags, main, computes=True)
