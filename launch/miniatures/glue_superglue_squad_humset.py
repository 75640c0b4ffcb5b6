"""GLUE, SuperGLUE, SQuAD, HumSet: an invented task in each of their 12 schemas.

  python -m launch.miniature glue-superglue-squad-humset

A sentence, a pair, a score (GLUE); BoolQ, COPA, MultiRC, ReCoRD, WiC, WSC
(SuperGLUE; CB, RTE and the diagnostics are pairs); questions with and without
unanswerable ones (SQuAD); sets of labels (HumSet). Files of 500 to 2000 rows
are written in each benchmark's own layout, read, trained on by the usual loop
from scratch (BERT of 2 layers and width 64), and scored by the task's own
metric on rows that were not trained on. Required of each: at least half of the
way from the best constant answer to 1. It measures that each schema can be
learnt from end to end, not language.
"""

import pathlib
import tempfile
import time
from typing import Any

import ml_collections
import numpy as np
from absl import flags

from glue_jax.data import load
from glue_jax.data.table import Table
from glue_jax.data.tasks import by_name
from glue_jax.metrics import scores, squad
from glue_jax.training import runs
from launch.miniatures.parts import schemas, verdict

FLAGS = flags.FLAGS
WAY = 0.5
# Updates of a batch of 32 rows.
STEPS = 700


def define_flags() -> None:
  """The flags of this miniature."""
  flags.DEFINE_integer('steps', STEPS, 'Updates of each run.', lower_bound=1)
  flags.DEFINE_list('tasks', list(schemas.SIZES), 'Which of the schemas.')
  flags.DEFINE_integer('seed', 0, 'Of the rows and the run.', lower_bound=0)
  flags.DEFINE_string('workdir', None, 'Folder kept; default: a temporary one.')


def get_config(name: str, data_dir: str, steps: int, seed: int) -> Any:
  """The run of one task."""
  return ml_collections.ConfigDict(
    dict(
      task=dict(name=name),
      data=dict(
        data_dir=data_dir,
        tokenizer='train',
        max_length=32,
        buckets=(16, 24, 32),
        batch_size=32,
        eval_batch_size=128,
        data_seed=seed,
      ),
      model=dict(
        name='bert',
        preset='tiny',
        max_positions=32,
        init_range=0.05,
        dropout=0.0,
        attention_dropout=0.0,
      ),
      optimizer=dict(lr=2e-3, warmup=0.1, weight_decay=0.01),
      train=dict(steps=steps, eval_every=steps, log_every=steps),
      seeds=(seed,),
    )
  )


def constant(train: Table, table: Table) -> float:
  """The first metric of the best answer that is the same for every row."""
  task = table.task
  if task.kind == 'regression':
    return 0.0  # no correlation
  if task.kind == 'span':
    return _constant_answer(train, table)
  labels = table.labels()
  if task.candidates:
    return _constant_place(table)
  if task.kind == 'multilabel':
    every = scores.multilabel(np.ones_like(labels, bool), labels)
    return every[task.metrics[0]]
  classes = len(task.labels or task.choices)
  return max(
    scores.compute(
      task.metrics, np.full(len(table), c), labels, table.groups()
    )[task.metrics[0]]
    for c in range(classes)
  )


def _constant_answer(train: Table, table: Table) -> float:
  """F1 of the most frequent answer of train, or of none."""
  texts = [text for row in train.rows for text in row['label'] or ['']]
  best = max(sorted(set(texts)), key=texts.count)
  right = [
    max(squad.token_f1_v2(best, text) for text in row['label'] or [''])
    for row in table.rows
  ]
  return float(np.mean(right))


def _constant_place(table: Table) -> float:
  """Share of queries whose answer is the first, or the last, entity."""
  first, last = {}, {}
  for row, group in zip(table.rows, table.groups()):
    first.setdefault(group, row['label'])
    last[group] = row['label']
  return float(max(np.mean([*first.values()]), np.mean([*last.values()])))


def main(argv: list[str]) -> bool:
  """Prints the table; returns whether the required figures were reached."""
  del argv
  started, bounds = time.time(), []
  print(
    f'{"schema":16} {"train":>6} {"rows":>5} {"metric":12} constant reached'
  )
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(FLAGS.workdir or folder)
    for name in FLAGS.tasks:
      schemas.write(name, folder / 'data', FLAGS.seed)
      data = str(folder / 'data')
      config = get_config(name, data, FLAGS.steps, FLAGS.seed)
      result = runs.run(config, folder / 'runs' / name)
      task = by_name.get(name)
      train = load.load(task, task.train_split, data)
      tables = [load.load(task, split, data) for split in task.eval_splits]
      # The result is the mean of the splits, of which MNLI has two.
      least = float(np.mean([constant(train, table) for table in tables]))
      value = result['primary']['value']
      print(
        f'{name:16} {len(train):6} {len(tables[0]):5} {task.metrics[0]:12} '
        f'{least:8.3f} {value:7.3f}',
        flush=True,
      )
      required = least + WAY * (1 - least)
      bounds.append(verdict.Bound(name, value, '>=', round(required, 3)))
  print(f'{time.time() - started:.0f} s')
  return verdict.say(*bounds)
