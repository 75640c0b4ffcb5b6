"""Looks at data before anything is trained on it.

  python -m launch.data check --task=rte --data_dir=DIR
  python -m launch.data describe --task=rte --data_dir=DIR --tokenizer=FOLDER
  python -m launch.data prepare --task=rte [--source=hub] [--data_dir=DIR]

check: reads every split; verifies headers, columns, labels and ids, compares
row counts with the official ones, counts rows that occur twice in a split or
in two splits, and labels that the training split lacks. The last two are
errors in an own task, warnings in a known one. Then tokenizes as training
does (--tokenizer, or a vocabulary of the training texts), which finds answers
and words without a token. Exit code 1 on an error.
describe: examples, label balance and lengths of each split.
baseline: scores of majority, bag of words and the like, which learn from train.
prepare: fetches the data to --data_dir ($GLUE_JAX_DATA, or the folder `data`)
and compares rows and checksums with what is on record; exit code 1 if rows are
too many or too few. --source says from where:
  tfds    the folder of tensorflow-datasets (array_record), built from the raw
          files of the network; usual where they have the task
  hub     Parquet files of the Hugging Face Hub, of the newest commit or of
          --revision, by the variables of its client (HF_HOME, HF_TOKEN, ...);
          reading them needs the extra `parquet`
  FOLDER  the folder of tensorflow-datasets, built from raw files that are there

An own task: --task=mytask.yaml (its keys: glue_jax/data/tasks/own_file.py), or
--task=mytask --kind=classification --columns=text --labels=no,yes
--label=target --files=train=a.csv,validation=b.csv
"""

import os
import pathlib
from typing import TYPE_CHECKING

from absl import app, flags

from launch.cli import command

if TYPE_CHECKING:
  from glue_jax.data.table import Table
  from glue_jax.data.tasks.task import Task

FLAGS = flags.FLAGS
# Command -> the flags that it needs.
COMMANDS = {
  'check': ('task',),
  'describe': ('task',),
  'baseline': ('task',),
  'prepare': ('task',),
}


def define_flags() -> None:
  """The flags of this command."""
  text = flags.DEFINE_string
  names = flags.DEFINE_list
  text('task', None, 'name of the task')
  text('data_dir', None, 'data folder; default: $GLUE_JAX_DATA')
  names('files', [], 'split=file, for files named in another way')
  names('splits', [], 'only these splits')
  flags.DEFINE_enum(
    'bad_rows', 'error', ['error', 'drop'], 'stop at bad rows, or leave out'
  )
  text('tokenizer', None, 'folder or name; describe: lengths in its tokens')
  flags.DEFINE_integer('max_length', None, 'check: longest sequence in tokens')
  text('source', None, 'prepare: hub, tfds, or a folder of raw files')
  text('revision', None, 'prepare: branch, tag or commit of the hub')
  flags.DEFINE_integer('examples', 2, 'describe: rows shown of each split')
  flags.DEFINE_integer('seed', 0, 'of generated tasks')
  text('kind', None, 'own task: its kind')
  names('columns', None, 'own task: text columns')
  names('labels', None, 'own task: class names in id order')
  names('choices', None, 'own task: columns that are choices')
  text('label', None, 'own task: label column')


def _task() -> 'Task':
  from glue_jax.data.tasks import by_name

  return by_name.make(
    FLAGS.task,
    kind=FLAGS.kind,
    columns=FLAGS.columns,
    labels=FLAGS.labels,
    label=FLAGS.label,
    choices=FLAGS.choices,
  )


def _files() -> dict[str, str]:
  pairs = [entry.partition('=') for entry in FLAGS.files]
  wrong = [''.join(pair) for pair in pairs if not pair[2]]
  if wrong:
    raise ValueError(f'--files has {wrong}; expected split=file')
  return {split: file for split, _, file in pairs}


def _splits(task: 'Task') -> list[str]:
  from glue_jax.data.tasks import by_name

  known = [task.train_split, *task.eval_splits, *task.test_splits]
  if FLAGS.files and task.name not in by_name.TASKS:
    known = list(_files())
  return FLAGS.splits or [split for split in dict.fromkeys(known) if split]


def _open(task: 'Task', split: str) -> 'Table':
  from glue_jax.data import load

  return load.load(
    task,
    split,
    FLAGS.data_dir,
    files=_files() or None,
    bad_rows=FLAGS.bad_rows,
    seed=FLAGS.seed,
  )


def check(task: 'Task') -> int:
  """Reads every split and prints what was found.

  Returns:
    The number of errors; a split without a file is one (--splits names
    those to look at; an own task has those of --files).
  """
  from glue_jax.data import validate
  from glue_jax.data.tasks import by_name

  tables, errors = {}, 0
  for split in _splits(task):
    try:
      tables[split] = table = _open(task, split)
    except (ValueError, OSError) as error:
      errors += 1
      print(f'ERROR    {split}: {error}')
      continue
    print(
      f'ok       {split}: {len(table)} rows, '
      f'{"labelled" if table.labelled else "no labels"}, {table.format} '
      f'{table.path}'
    )
    for note in table.notes:
      print(f'WARNING  {note}')
  # Known data sets are as they are; an own task is there to be mended.
  own = task.name not in by_name.TASKS
  for finding in validate.splits(tables, task.train_split):
    errors += own and finding.leaks
    mark = 'ERROR   ' if own and finding.leaks else 'WARNING '
    print(f'{mark} {finding.message}')
  errors += _tokenize(task, tables)
  print(f'{task.name}: {len(tables)} splits read, {errors} errors')
  return errors


def _tokenize(task: 'Task', tables: dict[str, 'Table']) -> int:
  """Tokenizes the splits as training does; returns the number of errors."""
  from glue_jax.data import features, pipeline, tokenizing, wordpiece

  if FLAGS.tokenizer:
    tokenizer = tokenizing.get_tokenizer(FLAGS.tokenizer)
  elif task.train_split in tables:
    texts = pipeline.table_texts(tables[task.train_split])
    tokenizer = wordpiece.train(texts, pipeline.VOCAB_SIZE)
  else:
    print('WARNING  not tokenized: no training split was read; see --tokenizer')
    return 0
  length = FLAGS.max_length or task.max_length or pipeline.MAX_LENGTH
  errors = 0
  for split, table in tables.items():
    try:
      examples = features.tokenize(table, tokenizer, length)
    except ValueError as error:
      errors += 1
      print(f'ERROR    {split}: {error}')
      continue
    print(
      f'ok       {split}: {len(examples)} sequences of at most '
      f'{examples.lengths.max()} tokens'
    )
    for note in pipeline.encoding_notes(examples, length):
      print(f'WARNING  {split}: {note}')
  return errors


def describe(task: 'Task') -> int:
  """Prints examples, label balance and a histogram of lengths."""
  from glue_jax.data import describe, tokenizing

  tokenizer = None
  if FLAGS.tokenizer:
    tokenizer = tokenizing.get_tokenizer(FLAGS.tokenizer)
  print(describe.of_task(task))
  for split in _splits(task):
    text = describe.of_table(
      split, _open(task, split), tokenizer, FLAGS.examples
    )
    print(f'\n{text}')
  return 0


def prepare(task: 'Task') -> int:
  """Fetches a task's data; returns how many splits have another size."""
  from glue_jax.data import fetch, load

  given = FLAGS.data_dir or os.environ.get(load.VARIABLE) or 'data'
  data_dir = pathlib.Path(given).expanduser()
  source = FLAGS.source or ('hub' if task.hub and not task.tfds else 'tfds')
  if FLAGS.revision and source != 'hub':
    raise ValueError(
      f'--revision={FLAGS.revision} is of the hub; it goes with --source=hub'
    )
  if source == 'hub':
    came = fetch.from_hub(task, data_dir, FLAGS.revision)
  else:
    raw = None if source == 'tfds' else pathlib.Path(source).expanduser()
    if raw and not raw.is_dir():
      raise FileNotFoundError(
        f'--source={source}: no such folder; expected hub, tfds or a folder'
      )
    came = fetch.from_tfds(task, data_dir, raw)
  wrong = came.wrong(task)
  for split, count in came.rows.items():
    print(f'ok       {split}: {count} rows')
  for text in wrong:
    print(f'WARNING  {text}')
  print(f'{task.name}: prepared in {came.folder} ({came.origin})')
  print(f'data_dir: {data_dir}')
  print(f'next: {fetch.next_command(FLAGS.task, data_dir)}')
  return len(wrong)


def baseline(task: 'Task') -> int:
  """Prints what simple predictors reach on the labelled splits."""
  from glue_jax.data import baselines
  from glue_jax.reporting import tables

  train = _open(task, task.train_split)
  rows = []
  for split in _splits(task):
    table = train if split == task.train_split else _open(task, split)
    if table is not train and table.labelled:
      for name, scores in baselines.scores(train, table).items():
        rows.append({'split': split, 'baseline': name, **scores})
  if not rows:
    raise ValueError(f'{task.name}: no labelled split beside train')
  print(tables.results_table(rows))
  return 0


def main(argv: list[str]) -> int:
  """Runs one of the commands; the exit code is 1 on an error."""
  name = command.choose(argv, COMMANDS)
  if len(argv) > 2:
    raise app.UsageError(f'unexpected arguments {argv[2:]}; flags need --')
  return int(globals()[name](_task()) > 0)


if __name__ == '__main__':
  command.run(__doc__, define_flags, main, arguments=True)
