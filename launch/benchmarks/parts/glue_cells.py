"""Cells of a study: one configuration, task and seed each, run once.

A row is written when its cell is finished, so the same command goes on where it
was stopped. A cell that was stopped midway starts again: its time is that of
one whole run.
"""

import json
import pathlib
import shutil
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import app, flags, logging

from configs import glue
from glue_jax.config import config as config_lib
from glue_jax.evaluation import evaluate
from glue_jax.inference import open_run
from glue_jax.training import runs

FLAGS = flags.FLAGS


def define_flags() -> None:
  """The flags that all studies of this kind have."""
  flags.DEFINE_string('out', None, 'Folder of rows.jsonl and of the runs.')
  flags.DEFINE_list('tasks', ['rte', 'sst2'], 'Tasks.')
  flags.DEFINE_list('seeds', ['0', '1', '2'], 'Seeds.')
  flags.DEFINE_string('data_dir', None, 'Default: GLUE_JAX_DATA.')
  flags.DEFINE_string('weights', None, 'Default: GLUE_JAX_WEIGHTS.')
  flags.DEFINE_float('lr', 2e-3, 'Learning rate of every arm.')
  flags.DEFINE_float('epochs', None, 'Default: those of configs/glue.py.')
  flags.DEFINE_integer('steps', None, 'In place of epochs.')
  flags.DEFINE_integer('train_limit', None, 'Rows; default: configs/glue.py.')


def settings(task: str, seed: int, methods: Any) -> Any:
  """Returns configs/glue.py for one cell.

  Args:
    task: of GLUE.
    seed: the only one.
    methods: ((name, arguments), ...).
  """
  config = glue.get_config(task)
  if FLAGS.data_dir:
    config.data.data_dir = FLAGS.data_dir
  if FLAGS.weights:
    config.data.tokenizer = config.model.weights = FLAGS.weights
  if not config.model.weights:
    raise app.UsageError('give --weights or GLUE_JAX_WEIGHTS')
  if FLAGS.train_limit:
    config.data.train_limit = FLAGS.train_limit
  if FLAGS.steps:
    config.train = dict(steps=FLAGS.steps)
  elif FLAGS.epochs:
    config.train = dict(epochs=FLAGS.epochs)
  config.optimizer.lr = FLAGS.lr
  config.methods, config.seeds = methods, (seed,)
  return config_lib.complete(config)


def rows(
  cells: list[dict[str, Any]], finish: Callable[[dict], dict]
) -> list[dict[str, Any]]:
  """Runs the cells that have no row yet; returns the rows of all.

  Args:
    cells: what tells a cell from the others, JSON values.
    finish: cell -> further fields of its row.
  """
  if not FLAGS.out:
    raise app.UsageError('--out is needed')
  logging.set_verbosity(logging.WARNING)  # the table is the output
  path = pathlib.Path(FLAGS.out) / 'rows.jsonl'
  path.parent.mkdir(parents=True, exist_ok=True)
  lines = path.read_text().splitlines() if path.exists() else []
  done = [json.loads(line) for line in lines]
  finished = []
  for cell in cells:
    same = (row for row in done if cell.items() <= row.items())
    row = next(same, None)
    if row is None:
      row = cell | finish(cell)
      with path.open('a') as file:
        file.write(json.dumps(row) + '\n')
      print(json.dumps(row), flush=True)
    finished.append(row)
  return finished


def train(config: Any, name: str) -> tuple[pathlib.Path, dict, float]:
  """Trains a cell from its start: (workdir, content of run.json, seconds)."""
  folder = pathlib.Path(FLAGS.out) / name
  shutil.rmtree(folder, ignore_errors=True)
  start = time.perf_counter()
  runs.run(config, folder)
  seconds = time.perf_counter() - start
  return folder, json.loads((folder / 'run.json').read_text()), seconds


def score(folder: pathlib.Path, ranks: tuple[int, ...]) -> dict[str, float]:
  """Returns {rank: primary metric} of a finished run, its update cut."""
  run = open_run.open_run(folder, splits=None)
  scores = {}
  for rank in ranks:
    chosen, values = run.at(rank=rank), {}
    for split, batches in run.bundle.evals.items():
      table = run.bundle.tables[split]
      values[split], _ = evaluate.evaluate(
        chosen.predict_fn, batches, run.task, table
      )
    scores[str(rank)] = evaluate.primary(run.task, values)
  return scores


def spread(values: list[float]) -> str:
  """Mean and, of several, the sample standard deviation."""
  text = f'{np.mean(values):.4f}'
  return text + (f' ±{np.std(values, ddof=1):.4f}' if len(values) > 1 else '')
