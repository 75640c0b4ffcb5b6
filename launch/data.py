"""Looks at data before anything is trained on it.

  python -m launch.data check --task=rte --data_dir=DIR
  python -m launch.data describe --task=rte --data_dir=DIR --tokenizer=FOLDER
  python -m launch.data prepare --task=rte --data_dir=DIR [--source=RAW]

check: reads every split; verifies headers, columns, labels and ids, compares
row counts with the official ones, counts rows that occur twice in a split or
in two splits, and labels that the training split lacks. The last two are
errors in an own task, warnings in a known one. Exit code 1 on an error.
describe: examples, label balance and lengths of each split.
baseline: scores of majority, bag of words and the like, which learn from train.
prepare: builds the tensorflow-datasets folder (array_record) under data_dir,
from the network, or from raw files in --source.

An own task: --task=mytask.yaml (its keys: glue_jax/data/tasks/own_file.py), or
--task=mytask --kind=classification --columns=text --labels=no,yes
--label=target --files=train=a.csv,validation=b.csv
"""

import pathlib
import sys
from collections.abc import Sequence

import numpy as np
from absl import app, flags, logging

from glue_jax.data import baselines, load, tokenizing, validate
from glue_jax.data.readers import tfds
from glue_jax.data.table import Table
from glue_jax.data.tasks import by_name
from glue_jax.data.tasks.task import Task
from glue_jax.reporting import tables as tables_lib

FLAGS = flags.FLAGS


def define_flags() -> None:
  """The flags of this command."""
  text = flags.DEFINE_string
  names = flags.DEFINE_list
  text('task', None, 'name of the task')
  text('data_dir', None, f'data folder; default: ${load.VARIABLE}')
  names('files', [], 'split=file, for files named in another way')
  names('splits', [], 'only these splits')
  flags.DEFINE_enum(
    'bad_rows', 'error', ['error', 'drop'], 'stop at bad rows, or leave out'
  )
  text('tokenizer', None, 'folder or name: lengths in tokens, not in words')
  text('source', None, 'prepare: folder of raw files instead of the network')
  flags.DEFINE_integer('examples', 2, 'describe: rows shown of each split')
  flags.DEFINE_integer('seed', 0, 'of generated tasks')
  text('kind', None, 'own task: its kind')
  names('columns', None, 'own task: text columns')
  names('labels', None, 'own task: class names in id order')
  names('choices', None, 'own task: columns that are choices')
  text('label', None, 'own task: label column')
  flags.mark_flag_as_required('task')


def _task() -> Task:
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


def _splits(task: Task) -> list[str]:
  known = [task.train_split, *task.eval_splits, *task.test_splits]
  if FLAGS.files and task.name not in by_name.TASKS:
    known = list(_files())
  return FLAGS.splits or [split for split in dict.fromkeys(known) if split]


def _open(task: Task, split: str) -> Table:
  return load.load(
    task,
    split,
    FLAGS.data_dir,
    files=_files() or None,
    bad_rows=FLAGS.bad_rows,
    seed=FLAGS.seed,
  )


def check(task: Task) -> int:
  """Reads every split and prints what was found.

  Returns:
    The number of errors; a split without a file is one (--splits names
    those to look at; an own task has those of --files).
  """
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
  print(f'{task.name}: {len(tables)} splits read, {errors} errors')
  return errors


def describe(task: Task) -> int:
  """Prints examples, label balance and a histogram of lengths."""
  tokenizer = None
  if FLAGS.tokenizer:
    tokenizer = tokenizing.get_tokenizer(FLAGS.tokenizer)
  print(f'{task.name}: {task.kind}, columns {", ".join(task.columns)}')
  print(f'  metrics {", ".join(task.metrics)} ({task.direction} is best)')
  if task.labels:
    named = ', '.join(f'{i} {name}' for i, name in enumerate(task.labels))
    print(f'  labels {named}')
  for split in _splits(task):
    table = _open(task, split)
    print(f'\n{split}: {len(table)} rows, {table.path}')
    for row in table.rows[: FLAGS.examples]:
      shown = {c: str(row[c])[:100] for c in (*task.columns, 'label')}
      print(f'  {row["idx"]}: {shown}')
    print(f'  labels: {balance(table)}')
    unit = 'tokens' if tokenizer else 'words'
    print(f'  {unit} in an example:')
    print(histogram(lengths(table, tokenizer)))
  return 0


def balance(table: Table) -> str:
  """How often each label occurs."""
  if table.task.kind == 'span':
    empty = sum(not row['answers']['text'] for row in table.rows)
    return f'{len(table) - empty} with an answer, {empty} without'
  if not table.labelled:
    return 'hidden'
  labels = table.labels()
  if table.task.kind == 'regression':
    return (
      f'{labels.min():.2f} to {labels.max():.2f}, mean {labels.mean():.2f}, '
      f'sd {labels.std():.2f}'
    )
  if table.task.kind == 'multilabel':
    names, counts = table.task.labels, labels.sum(axis=0)
    return ', '.join(
      f'{name} {count} ({count / len(labels):.1%})'
      for name, count in zip(names, counts)
    )
  if table.task.kind == 'token_classification':
    labels = np.concatenate(labels)
  names = table.task.labels or table.task.choices
  counts = np.bincount(np.asarray(labels, int), minlength=len(names))
  return ', '.join(
    f'{name} {count} ({count / len(labels):.1%})'
    for name, count in zip(names, counts)
  )


def lengths(table: Table, tokenizer: tokenizing.Tokenizer | None) -> np.ndarray:
  """Words, or tokens with special tokens, of each row."""
  columns = table.task.columns
  rows = [[_text(row[column]) for column in columns] for row in table.rows]
  if tokenizer is None:
    return np.array([sum(len(text.split()) for text in row) for row in rows])
  first = [row[0] for row in rows]
  second = [' '.join(row[1:]) for row in rows] if len(rows[0]) > 1 else None
  return tokenizer.encode(first, second, max_length=1 << 30).lengths


def _text(value: str | list[str]) -> str:
  return ' '.join(value) if isinstance(value, list) else value


def histogram(values: np.ndarray, width: int = 40) -> str:
  """Counts in ranges that double, as bars of text."""
  edges = [0, *(1 << k for k in range(3, int(values.max()).bit_length() + 1))]
  edges = edges if edges[-1] > values.max() else [*edges, 2 * edges[-1] or 8]
  counts, _ = np.histogram(values, edges)
  lines = [
    f'  {low:6d} to {high - 1:<6d} {count:7d} '
    f'{"#" * round(width * count / counts.max())}'
    for low, high, count in zip(edges, edges[1:], counts)
  ]
  middle = f'median {np.median(values):.0f}, 95% below '
  end = f'{np.percentile(values, 95):.0f}, longest {values.max()}'
  return '\n'.join([*lines, f'  {middle}{end}'])


def prepare(task: Task) -> int:
  """Builds the task's tensorflow-datasets folder."""
  if not FLAGS.data_dir:
    raise ValueError('--data_dir must name the folder to write to')
  source = pathlib.Path(FLAGS.source) if FLAGS.source else None
  folder = tfds.prepare(task, pathlib.Path(FLAGS.data_dir), source)
  print(f'{task.name}: prepared in {folder}')
  return 0


def baseline(task: Task) -> int:
  """Prints what simple predictors reach on the labelled splits."""

  train = _open(task, task.train_split)
  rows = []
  for split in _splits(task):
    table = train if split == task.train_split else _open(task, split)
    if table is not train and table.labelled:
      for name, found in baselines.scores(train, table).items():
        rows.append({'split': split, 'baseline': name, **found})
  if not rows:
    raise ValueError(f'{task.name}: no labelled split beside train')
  print(tables_lib.results_table(rows))
  return 0


COMMANDS = {
  'baseline': baseline,
  'check': check,
  'describe': describe,
  'prepare': prepare,
}


def main(argv: Sequence[str]) -> int:
  """Runs one of the commands; the exit code is 1 on an error."""
  if len(argv) != 2 or argv[1] not in COMMANDS:
    print(f'expected one command of {", ".join(COMMANDS)}', file=sys.stderr)
    return 1
  try:
    return int(COMMANDS[argv[1]](_task()) > 0)
  except (ValueError, OSError) as error:
    logging.debug('where it happened', exc_info=True)
    print(f'ERROR    {error}', file=sys.stderr)
    return 1


if __name__ == '__main__':
  define_flags()
  app.run(main)
