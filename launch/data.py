"""Looks at data before anything is trained on it.

  python -m launch.data check --task=rte --data_dir=DIR
  python -m launch.data describe --task=rte --data_dir=DIR --tokenizer=FOLDER
  python -m launch.data prepare --task=rte --data_dir=DIR [--source=RAW]

check: reads every split; verifies headers, columns, labels and ids, compares
row counts with the official ones, counts rows that occur twice in a split or
in two splits, and labels that the training split lacks. The last two are
errors in an own task, warnings in a known one. Then tokenizes as training
does (--tokenizer, or a vocabulary of the training texts), which finds answers
and words without a token. Exit code 1 on an error.
describe: examples, label balance and lengths of each split.
baseline: scores of majority, bag of words and the like, which learn from train.
prepare: builds the tensorflow-datasets folder (array_record) under data_dir,
from the network, or from raw files in --source.

An own task: --task=mytask.yaml (its keys: glue_jax/data/tasks/own_file.py), or
--task=mytask --kind=classification --columns=text --labels=no,yes
--label=target --files=train=a.csv,validation=b.csv
"""

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
  'prepare': ('task', 'data_dir'),
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
  text('source', None, 'prepare: folder of raw files instead of the network')
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
  """Builds the task's tensorflow-datasets folder."""
  from glue_jax.data.readers import tfds

  source = pathlib.Path(FLAGS.source) if FLAGS.source else None
  folder = tfds.prepare(task, pathlib.Path(FLAGS.data_dir), source)
  print(f'{task.name}: prepared in {folder}')
  return 0


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
