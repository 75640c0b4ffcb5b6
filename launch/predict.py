"""Predicts with a finished run.

  python -m launch.predict --workdir=runs/rte --split=test --output=rte.jsonl
  python -m launch.predict --workdir=runs/sst2 --input=reviews.txt --format=tsv
  echo 'what a film' | python -m launch.predict --workdir=runs/sst2 --input=-

Own texts: one a line; for tasks with two texts, both with a tab between them;
or JSON lines, a JSON array, CSV, TSV, Parquet or Arrow with the task's columns,
told by ending and content, or by --input_format. Rows stay in order, one a
line, and keep the ids in columns idx or id; standard input is answered as lines
come. A record has idx, prediction (label name, number or text) and
probabilities by label name. They are written as JSON lines, TSV, CSV or
parquet, by the ending of --output or --format
(glue_jax/inference/write_predictions.py). Parquet and Arrow need the extra
`parquet`.

  python -m launch.predict --workdir=runs/rte --split=validation --seed=0 \\
    --contribution=BOARD/contributions/NAME --authors='A. Name' \\
    --contact=a@example.org

writes a split as a contribution to a leaderboard (see launch.leaderboard), or
adds a task or a seed to one; metadata comes from the run's record.
"""

import glob
import json
import os
import pathlib
from typing import Any

from absl import app, flags

from launch.cli import author_flags, command

FLAGS = flags.FLAGS


def define_flags() -> None:
  """The flags of this command."""
  command.define_run('which', 'data_dir', 'batch_size')
  flags.DEFINE_string('split', None, 'Split of the task to predict.')
  flags.DEFINE_string('input', None, "File of own texts, '-' = stdin.")
  flags.DEFINE_enum(
    'input_format',
    None,
    ['jsonl', 'json', 'csv', 'tsv', 'text', 'parquet', 'arrow'],
    'Default: by the ending and content of --input.',
  )
  flags.DEFINE_string('output', '-', "File to write, '-' = stdout.")
  flags.DEFINE_enum(
    'format',
    None,
    ['jsonl', 'tsv', 'csv', 'parquet'],
    'Default: by the ending of --output.',
  )
  flags.DEFINE_string(
    'contribution', None, "Folder of a leaderboard's contribution to write."
  )
  author_flags.define()


def main(argv: list[str]) -> None:
  """Checks the flags, loads the run, writes the predictions."""
  del argv
  if (FLAGS.split is None) == (FLAGS.input is None):
    raise app.UsageError('give either --split or --input')
  if FLAGS.contribution and not FLAGS.split:
    raise app.UsageError('--contribution needs --split')
  # Imported here so that --help and a wrong flag answer at once.
  from glue_jax.inference import open_run, predict, write_predictions
  from glue_jax.reporting import outputs

  if FLAGS.input:
    outputs.refuse(FLAGS.output, [FLAGS.input, *glob.glob(FLAGS.input)])
  splits = (FLAGS.split,) if FLAGS.split else ()
  run = open_run.open_run(
    FLAGS.workdir,
    FLAGS.which,
    FLAGS.seed,
    splits,
    FLAGS.data_dir,
    FLAGS.stage,
    FLAGS.batch_size,
  )
  outputs.refuse(FLAGS.output, read_by(run))
  if FLAGS.contribution:
    contribute(predict.predict_split(run, FLAGS.split), run.workdir)
    return
  if FLAGS.split:
    parts = [predict.predict_split(run, FLAGS.split)]
  else:
    parts = predict.predict_texts(run, FLAGS.input, FLAGS.input_format)
  style = FLAGS.format or write_predictions.by_ending(FLAGS.output)
  count = write_predictions.write_parts(parts, FLAGS.output, style)
  if FLAGS.output != '-':
    print(f'{count} predictions written to {FLAGS.output}')


def read_by(run: Any) -> list[str | pathlib.Path]:
  """The model, the data files and the task's data folders of a run."""
  from glue_jax.data import load

  data = run.begun.data
  root = FLAGS.data_dir or data.get('data_dir') or os.environ.get(load.VARIABLE)
  read: list[str | pathlib.Path] = [run.workdir / 'model']
  read += [run.workdir / 'checkpoints']
  read += [table.path for table in run.bundle.tables.values()]
  read += (data.get('files') or {}).values()
  if not run.task.tfds:
    read += run.task.sources.values()
  if root:
    read += load.folders(run.task, pathlib.Path(root).expanduser())[:-1]
  return read


def contribute(predictions: Any, workdir: pathlib.Path) -> None:
  """Writes the predictions of a split as a contribution.

  Args:
    predictions: `predict.Predictions`.
    workdir: folder of the run that made them.

  Raises:
    ValueError: the run left no record, or the contribution can't be extended.
  """
  from glue_jax.leaderboard.contribution import write
  from glue_jax.reporting import files

  (folder,) = write.find_runs([workdir])
  record = json.loads((folder / 'run.json').read_text())
  run = write.Run(
    predictions.task.name,
    predictions.split,
    int(record['result']['seed']),
    list(predictions.records()),
    record,
  )
  if files.is_first_process():
    paths = write.write(FLAGS.contribution, [run], author_flags.author())
    print(f'{", ".join(paths)} written to {FLAGS.contribution}')


if __name__ == '__main__':
  command.run(__doc__, define_flags, main, computes=True)
