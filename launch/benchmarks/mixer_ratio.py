"""Other mixers in MiniLM: what share of attention's GLUE scores they reach.

  python -m launch.benchmark mixer_ratio --out=FOLDER [--weights=DIR
    --data_dir=DIR --corpus=DIR]

configs/distill/mixers.py: the encoder of the weights with fresh mixers is held
to the hidden states of the unchanged one, once for each mixer, then tuned on
every task with every seed. Attention starts afresh too and is treated alike;
`unchanged` is the encoder as it is, tuned only. A score is the task's first
metric; a ratio is that of the means over the tasks, with equal seeds.

Runs of FOLDER go on where they were stopped, finished ones are read. Rows, also
in FOLDER/rows.json, one a mixer: {"mixer", a score for each task, "mean",
"ratio", "ratios", "std", "distance" of the hidden states, "parameters"}.
"""

import json
import os
import pathlib
import statistics
from typing import Any

from absl import app, flags, logging

from configs.distill import mixers
from glue_jax.config import config as config_lib
from glue_jax.training import runs
from launch.benchmarks.parts import rows

FLAGS = flags.FLAGS
BASE, UNCHANGED = 'attention', 'unchanged'
PLACES = {
  'weights': 'GLUE_JAX_WEIGHTS',
  'data_dir': 'GLUE_JAX_DATA',
  'corpus': 'GLUE_JAX_CORPUS',
}


def define_flags() -> None:
  """Defines the flags; only of the benchmark that runs."""
  flags.DEFINE_string('out', None, 'Folder of the runs and rows.json.')
  for name, variable in PLACES.items():
    flags.DEFINE_string(name, None, f'Default: {variable}.')
  flags.DEFINE_list('mixers', [*mixers.FORMS, UNCHANGED], 'Which.')
  flags.DEFINE_list('tasks', list(mixers.TASKS), 'Tasks.')
  flags.DEFINE_list('seeds', ['0', '1', '2'], 'Of the tuning.')
  flags.DEFINE_integer('steps', None, "Of the distillation; None = config's.")
  flags.DEFINE_integer('train_limit', None, "Rows of a task; None = config's.")


def main(argv: list[str]) -> None:
  """Runs what is missing, prints and writes a row for each mixer."""
  del argv
  known = {*mixers.FORMS, UNCHANGED}
  unknown = sorted({*FLAGS.mixers} - known | {*FLAGS.tasks} - {*mixers.TASKS})
  if unknown or not FLAGS.out:
    raise app.UsageError(
      f'unknown {unknown}, or no --out; mixers are {sorted(known)}, tasks '
      f'{list(mixers.TASKS)}'
    )
  for name, variable in PLACES.items():
    if getattr(FLAGS, name):
      os.environ[variable] = getattr(FLAGS, name)
    if not os.environ.get(variable):
      raise app.UsageError(f'--{name} or {variable} is needed')
  logging.set_verbosity(logging.WARNING)  # the table is the output
  found = {mixer: scores(mixer) for mixer in FLAGS.mixers}
  rows.collect(table(found), pathlib.Path(FLAGS.out) / 'rows.json')


def scores(mixer: str) -> dict[str, Any]:
  """Distils and tunes one mixer, as far as it isn't done.

  Returns:
    {'distance': None or a number, 'parameters', 'tasks': {task: [a score for
    each seed]}}.
  """
  folder = pathlib.Path(FLAGS.out) / mixer
  weights, distance = os.environ[PLACES['weights']], None
  if mixer != UNCHANGED:
    first = mixers.distilled(mixer)
    if FLAGS.steps:
      few = dict(steps=FLAGS.steps, eval_every=FLAGS.steps)
      first['train'] = first['train'] | few
    result = run(first, folder / 'distil')
    weights = str(folder / 'distil')
    distance = result['metrics']['validation']['loss']
    print(f'{mixer} distance {distance:.4f}', flush=True)
  found: dict[str, list[float]] = {}
  for seed in map(int, FLAGS.seeds):
    for task in FLAGS.tasks:
      second = mixers.tuned(task, mixer, weights) | dict(seeds=(seed,))
      if FLAGS.train_limit:
        second['data']['train_limit'] = FLAGS.train_limit
      workdir = folder / f'{task}_{seed}'
      score = run(second, workdir)['primary']['value']
      found.setdefault(task, []).append(score)
      print(f'{mixer} {task} {seed} {score:.4f}', flush=True)
  record = json.loads((workdir / 'run.json').read_text())
  return {
    'distance': distance,
    'parameters': record['parameters'],
    'tasks': found,
  }


def run(settings: dict[str, Any], folder: pathlib.Path) -> dict[str, Any]:
  """Runs a config, or reads its result."""
  return runs.run(config_lib.complete(settings), folder)


def table(found: dict[str, Any]) -> list[rows.Row]:
  """A row for each mixer, with ratios where attention was run.

  Args:
    found: {mixer: what `scores` returns}.
  """

  def means(mixer):
    """The mean over the tasks, for each seed."""
    return [statistics.mean(s) for s in zip(*found[mixer]['tasks'].values())]

  made = []
  for mixer, one in found.items():
    row = {'mixer': mixer}
    row |= {t: round(statistics.mean(s), 4) for t, s in one['tasks'].items()}
    row['mean'] = round(statistics.mean(means(mixer)), 4)
    ratios = []
    if BASE in found:
      ratios = [a / b for a, b in zip(means(mixer), means(BASE), strict=True)]
      row['ratio'] = round(statistics.mean(ratios), 4)
    if len(ratios) > 1:
      row['std'] = round(statistics.stdev(ratios), 4)
    row['ratios'] = [round(ratio, 4) for ratio in ratios]
    row |= {name: one[name] for name in ('distance', 'parameters')}
    made.append(row)
  return made
