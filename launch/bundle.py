"""Bundles: tuned models without their backbone.

  python -m launch.bundle write --workdir=runs/lora_rte --out=rte_bundle
  python -m launch.bundle show --bundle=rte_bundle
  python -m launch.bundle evaluate --bundle=rte_bundle --backbone=WEIGHTS \\
    [--split=validation] [--data_dir=DIR]
  python -m launch.bundle predict --bundle=rte_bundle --backbone=WEIGHTS \\
    --input=pairs.tsv --out=rte.jsonl
  python -m launch.bundle to_peft --bundle=rte_bundle --out=rte_peft
  python -m launch.bundle from_peft --peft=rte_peft --backbone=WEIGHTS \\
    --task=rte --out=rte_bundle

A bundle holds what the tuning changed and the head; the hash of the backbone
that it needs is compared when it is read. WEIGHTS is the folder, or the name of
the hub, that the run had as model.weights; --tokenizer, if its tokenizer was
another one.
Another run starts from a bundle, or a folder of peft, by
--config.model.adapter=FOLDER with the same backbone and methods.
to_peft and from_peft: the folder form of Hugging Face's `peft`, for LoRA,
(IA)3, prefix, prompt and (in a form of our own) Pfeiffer adapters.
"""

import json

from absl import app, flags

from launch.cli import command

COMMANDS = {
  'write': ('workdir', 'out'),
  'show': ('bundle',),
  'evaluate': ('bundle', 'backbone'),
  'predict': ('bundle', 'backbone', 'input'),
  'to_peft': ('bundle', 'out'),
  'from_peft': ('peft', 'backbone', 'task', 'out'),
}
FLAGS = flags.FLAGS


def define_flags() -> None:
  """The flags of all commands."""
  text = flags.DEFINE_string
  text('workdir', None, 'write: folder of the run.')
  command.define_which()
  flags.DEFINE_integer('seed', None, 'write: which seed of several.')
  text('stage', None, 'write: which stage of several.')
  text('out', None, 'Folder, or file of predictions, to write.')
  text('bundle', None, 'Folder of a bundle.')
  text('backbone', None, 'Weights: a folder, or a name of the hub.')
  text('tokenizer', None, 'Its folder, if not --backbone.')
  text('split', None, "evaluate: default the task's evaluation splits.")
  text('data_dir', None, 'evaluate: data folder.')
  text('input', None, "predict: file of own texts, '-' = stdin.")
  text('peft', None, 'from_peft: folder to read.')
  text('task', None, 'from_peft: name of the task.')
  flags.DEFINE_integer('max_length', None, 'from_peft: in tokens.')


def load(**data: object) -> object:
  """The bundle of the flags on its backbone, an `inference.run.Run`."""
  from glue_jax.export import bundle

  return bundle.load(FLAGS.bundle, FLAGS.backbone, FLAGS.tokenizer, **data)


def write() -> str:
  """Writes a run's bundle; returns what was done."""
  from glue_jax.export import bundle
  from glue_jax.inference import open_run
  from glue_jax.reporting import files

  run = open_run.open_run(
    FLAGS.workdir, FLAGS.which, FLAGS.seed, stage=FLAGS.stage
  )
  with files.whole_folder(FLAGS.out) as folder:
    made = bundle.write(run, folder)
  size = sum(x.nbytes for x in made.leaves.values())
  return f'{len(made.leaves)} leaves, {size:,} bytes written to {FLAGS.out}'


def show() -> str:
  """Returns what a bundle's record says, without its list of leaves."""
  from glue_jax.weights import bundle_folder

  bundle = bundle_folder.read(FLAGS.bundle)
  record = {k: v for k, v in bundle.record.items() if k != 'leaves'}
  count = sum(x.size for x in bundle.leaves.values())
  return json.dumps(record | {'parameters': count}, indent=2)


def evaluate() -> str:
  """Scores a bundle; returns the table."""
  from glue_jax.evaluation import evaluate
  from glue_jax.reporting import tables
  from glue_jax.training import inputs
  from glue_jax.weights import bundle_folder

  record = bundle_folder.read(FLAGS.bundle).record
  kept = inputs.task_of(record['task']) if 'task' in record else None
  task = inputs.current_task(record['config']['task'], kept)
  splits = (FLAGS.split,) if FLAGS.split else task.eval_splits
  data = {'data_dir': FLAGS.data_dir} if FLAGS.data_dir else {}
  run = load(eval_splits=splits, eval_limit=None, **data)
  table = {
    split: evaluate.evaluate(
      run.predict_fn, batches, run.task, run.bundle.tables.get(split)
    )[0]
    for split, batches in run.bundle.evals.items()
  }
  return '\n'.join([tables.metrics_table(table), *run.parts.notes])


def predict() -> str:
  """Predicts own texts; returns what was done."""
  from glue_jax.inference import predict, write_predictions

  parts = predict.predict_texts(load(), FLAGS.input)
  out = FLAGS.out or '-'
  style = write_predictions.by_ending(out)
  count = write_predictions.write_parts(parts, out, style)
  return '' if out == '-' else f'{count} predictions written to {out}'


def to_peft() -> str:
  """Writes a bundle as a folder of peft; returns what was done."""
  from glue_jax.export import peft_folder
  from glue_jax.reporting import files
  from glue_jax.weights import bundle_folder

  with files.whole_folder(FLAGS.out) as folder:
    peft_folder.write(folder, bundle_folder.read(FLAGS.bundle))
  return f'{FLAGS.bundle} written to {FLAGS.out}'


def from_peft() -> str:
  """Makes a bundle of a folder of peft; returns what was done."""
  from glue_jax.export import peft_folder
  from glue_jax.reporting import files

  with files.whole_folder(FLAGS.out) as folder:
    made = peft_folder.to_bundle(
      FLAGS.peft,
      FLAGS.backbone,
      {'name': FLAGS.task},
      folder,
      FLAGS.tokenizer,
      FLAGS.max_length,
    )
  method = made.record['config']['methods'][0][0]
  return f'{method} of {FLAGS.peft} written to {FLAGS.out}'


def main(argv: list[str]) -> None:
  """Runs one command."""
  name = command.choose(argv, COMMANDS)
  if len(argv) > 2:
    raise app.UsageError(f'unexpected arguments {argv[2:]}; flags need --')
  if FLAGS.out:
    from glue_jax.reporting import outputs

    folders = (FLAGS.workdir, FLAGS.bundle, FLAGS.backbone, FLAGS.peft)
    read = [f for x in folders if x for f in outputs.of_folder(x)]
    outputs.refuse(FLAGS.out, [*read, FLAGS.input] if FLAGS.input else read)
  said = globals()[name]()
  if said:
    print(said)


if __name__ == '__main__':
  command.run(__doc__, define_flags, main, arguments=True, computes=True)
