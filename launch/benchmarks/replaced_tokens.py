"""Replaced tokens beside masked words, at the same number of operations.

  python -m launch.benchmark replaced_tokens --corpus=DIR --data_dir=DIR
    --workdir=FOLDER [--seeds=0,1,2]

configs/pretrain/debertav3.py:rte,replaced and rte,masked: one small encoder,
pre-trained on the texts of --corpus (train/ and valid/) with DeBERTaV3's
objective or DeBERTa's, then tuned on SST-2, MRPC, RTE and CoLA; the same seeds,
texts, tasks and recipe, so that the arms are pairs. The steps are those of the
configs; what a step takes is counted of the lowered program. A run that was
stopped goes on, a finished one is read. Rows, also in FOLDER/rows.json: for
each arm and seed {"arm", "seed", "steps", "operations" (1e12, of all steps of
pre-training), "loss", "unigram" (nats of a model of single tokens on valid/),
"sst2", "mrpc", "rte", "cola"}; then for each task the mean difference of the
pairs.
"""

import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import ml_collections
import numpy as np
from absl import app, flags

from configs.pretrain import debertav3
from glue_jax.config import config as config_lib
from glue_jax.devices import sharding
from glue_jax.training import begin, runs
from launch.benchmarks.parts import rows

FLAGS = flags.FLAGS
METRICS = {
  'sst2': 'accuracy', 'mrpc': 'accuracy', 'rte': 'accuracy',
  'cola': 'matthews',
}  # fmt: skip


def define_flags() -> None:
  """The flags of this benchmark."""
  flags.DEFINE_string('corpus', None, 'Folder with train/ and valid/.')
  flags.DEFINE_string('data_dir', None, "Folder of the tasks' folders.")
  flags.DEFINE_string('workdir', None, 'Folder of the runs.')
  flags.DEFINE_list('seeds', ['0', '1', '2'], 'A pair of runs for each.')


def main(argv: list[str]) -> None:
  """Trains what is missing, prints the rows."""
  del argv
  if not FLAGS.corpus or not FLAGS.data_dir or not FLAGS.workdir:
    raise app.UsageError('--corpus, --data_dir and --workdir are needed')
  os.environ['GLUE_JAX_CORPUS'] = FLAGS.corpus
  os.environ['GLUE_JAX_DATA'] = FLAGS.data_dir
  folder = pathlib.Path(FLAGS.workdir)
  found = rows.collect(_rows(folder), folder / 'rows.json')
  found += differences(found)
  rows.collect(found, folder / 'rows.json')


def _rows(folder: pathlib.Path) -> Iterator[dict[str, Any]]:
  """A row for each arm and seed; the arms of a seed follow each other."""
  for seed in map(int, FLAGS.seeds):
    for arm in debertav3.COMPARED:
      yield row(arm, seed, folder / f'{arm}_{seed}')


def row(arm: str, seed: int, workdir: pathlib.Path) -> dict[str, Any]:
  """Runs one arm with one seed; returns what it reached.

  Args:
    arm: a key of `debertav3.COMPARED`.
    seed: of all stages.
    workdir: of the run.
  """
  config = debertav3.get_config(f'rte,{arm}').to_dict()
  config['stages'] = tuple(
    (name, dict(stage, seeds=(seed,))) for name, stage in config['stages']
  )
  runs.run(ml_collections.ConfigDict(config), workdir)
  first = ml_collections.ConfigDict(config['stages'][0][1])
  operations, unigram = measured(first, seed)
  steps = debertav3.COMPARED[arm]
  said = {
    name: json.loads((workdir / name / 'result.json').read_text())['metrics']
    for name, _ in config['stages']
  }
  words = said['pretrain']['validation']
  return {
    'arm': arm,
    'seed': seed,
    'steps': steps,
    'operations': round(operations * steps / 1e12, 2),
    'unigram': round(unigram, 3),
    # Of replaced tokens the generator's is over the vocabulary.
    'loss': round(words.get('generator_loss', words['loss']), 3),
    **{
      task: round(float(said[task]['validation'][metric]), 4)
      for task, metric in METRICS.items()
    },
  }


def measured(config: Any, seed: int) -> tuple[float, float]:
  """Returns operations of a step, and the nats of a model of single tokens.

  Args:
    config: of the pre-training.
    seed: of it.
  """
  run = begin.begin(config_lib.complete(config), seed)
  data = run.parts.bundle
  with sharding.enter(run.parts.mesh):
    step = run.programs.traced({}, run.host.state, data.train.batch(0), run.key)
  counts = [
    np.bincount(examples.ids, minlength=data.tokenizer.vocab_size)
    for examples in (data.train.examples, data.evals['validation'].examples)
  ]
  share = (counts[0] + 1) / (counts[0] + 1).sum()
  cost = step.lower().cost_analysis()['flops']
  return cost, -float((counts[1] * np.log(share)).sum() / counts[1].sum())


def differences(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
  """Rows of each task: replaced less masked, over the seeds that have both.

  Args:
    found: rows of `row`.
  """
  by_arm: dict[str, dict[int, dict]] = {arm: {} for arm in debertav3.COMPARED}
  for one in found:
    by_arm[one['arm']][one['seed']] = one
  first, second = by_arm.values()
  seeds = sorted(first.keys() & second.keys())
  return [
    {
      'task': task,
      'seeds': len(seeds),
      'replaced less masked': round(
        float(np.mean([first[s][task] - second[s][task] for s in seeds])), 4
      ),
      'each': [round(first[s][task] - second[s][task], 4) for s in seeds],
    }
    for task in METRICS
  ]
