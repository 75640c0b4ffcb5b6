"""DEFT: density and accuracy of five ways of tuning, with and without the loss.

The backbone is MiniLM-L6 with ReLU in place of its GELU, tuned in full on rows
of another task first (SST-2 by default) so that it gets used to the change (as
Mirzadeh et al. 2023, arXiv 2310.04564, do by going on with pre-training), and
one treated alike that keeps its GELU. On either, each form of tuning learns the
task with density loss of weight 0 and 1, seed by seed, as
configs/finetune/deft.py says of its small form. Density is that of the
development set at inference (launch.probe density), over all positions and over
real tokens. What is finished isn't run again: the same command goes on, and
prints the table of what there is after every run.

  python -m launch.benchmark deft --output=FOLDER --weights=MINILM
    --data_dir=GLUE [--task=rte --forms=lora,prompt --seeds=0,1,2]
"""

import json
import pathlib
import statistics

import ml_collections
from absl import app, flags, logging

from configs import glue
from configs.finetune import deft
from glue_jax.config import config as config_lib
from glue_jax.devices import cpu, distributed
from glue_jax.probes import activation_density
from glue_jax.reporting import tables
from glue_jax.training import runs, schema

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the flags; only of the benchmark that runs."""
  flags.DEFINE_string('output', None, 'Folder of the runs and results.json.')
  flags.DEFINE_string('weights', None, 'Hugging Face folder of the backbone.')
  flags.DEFINE_string('data_dir', None, 'Folder of the GLUE tasks.')
  flags.DEFINE_string('task', 'rte', 'Task of the tuning.')
  flags.DEFINE_list(
    'forms', ['lora', 'qlora', 'adapter', 'prefix', 'prompt'],
    f'On the ReLU backbone; of {sorted(deft.TUNING)}.',
  )  # fmt: skip
  flags.DEFINE_list('gelu_forms', ['lora'], 'On the GELU backbone.')
  flags.DEFINE_list('seeds', ['0', '1', '2'], 'Of the tuning.')
  flags.DEFINE_list('density_weights', ['0', '1'], 'Of the density loss.')
  flags.DEFINE_string('backbone_task', 'sst2', 'What backbones learn first.')
  flags.DEFINE_integer('backbone_rows', 20_000, 'Rows of it.')
  flags.DEFINE_integer('train_limit', None, 'Rows of the task at most.')
  flags.DEFINE_integer('epochs', None, "Of the tuning; default the config's.")


def main(argv: list[str]) -> None:
  """Runs what is missing; prints the table after each run."""
  del argv
  if not (FLAGS.output and FLAGS.weights and FLAGS.data_dir):
    raise app.UsageError('--output, --weights and --data_dir are needed')
  unknown = sorted({*FLAGS.forms, *FLAGS.gelu_forms} - set(deft.TUNING))
  if unknown:
    raise app.UsageError(
      f'unknown forms {unknown}; there are {sorted(deft.TUNING)}'
    )
  folder = pathlib.Path(FLAGS.output)
  cells = [
    (activation, form, float(weight), int(seed))
    for activation, forms in (('relu', FLAGS.forms), ('gelu', FLAGS.gelu_forms))
    for form in forms
    for seed in FLAGS.seeds
    for weight in FLAGS.density_weights
  ]
  # Everything is looked at before anything is trained.
  try:
    for cell in cells:
      schema.check(tuning(folder, *cell))
  except ValueError as error:
    raise app.UsageError(str(error)) from error
  if not FLAGS['verbosity'].present:
    logging.set_verbosity(logging.WARNING)  # checkpoints talk
  cpu.keep_memory()
  # Seeds and weights share their programs.
  distributed.compilation_cache('~/.cache/glue_jax/xla')
  rows = []
  for activation, form, weight, seed in cells:
    runs.run(backbone(activation), folder / f'backbone_{activation}')
    config = tuning(folder, activation, form, weight, seed)
    workdir = folder / f'{activation}_{form}_{weight:g}_{seed}'
    result = runs.run(config, workdir)
    rows.append({
      'activation': activation, 'form': form, 'weight': weight, 'seed': seed,
      **measured(workdir, result),
    })  # fmt: skip
    text = json.dumps(rows, indent=1) + '\n'
    (folder / 'results.json').write_text(text)
    print(tables.results_table(table(rows)), flush=True)


def backbone(activation: str) -> ml_collections.ConfigDict:
  """The config of the first stage: the encoder with that activation."""
  config = glue.get_config(FLAGS.backbone_task)
  config.data.update(
    data_dir=FLAGS.data_dir, tokenizer=FLAGS.weights,
    train_limit=FLAGS.backbone_rows,
  )  # fmt: skip
  config.model.update(weights=FLAGS.weights, activation=activation)
  config.train.epochs = 1
  config.seeds = (0,)
  return config_lib.complete(config)


def tuning(
  folder: pathlib.Path, activation: str, form: str, weight: float, seed: int
) -> ml_collections.ConfigDict:
  """The config of one run of the second stage."""
  config = deft.small(FLAGS.task, form)
  method, (name, kwargs) = config.methods
  config.methods = (method, (name, dict(kwargs, weight=weight)))
  model = str((folder / f'backbone_{activation}' / 'model').absolute())
  config.data.update(data_dir=FLAGS.data_dir, tokenizer=model)
  if FLAGS.train_limit:
    config.data.train_limit = FLAGS.train_limit
  # The head is that of the first task.
  config.model.update(weights=model, fresh=('head/.*',))
  if FLAGS.epochs:
    config.train.epochs = FLAGS.epochs
  config.seeds = (seed,)
  return config_lib.complete(config)


def measured(workdir: pathlib.Path, result: dict) -> dict:
  """Score and densities of a finished run; the latter kept in density.json."""
  path = workdir / 'density.json'
  if not path.is_file():
    shares = activation_density.of_run(workdir, data_dir=FLAGS.data_dir)
    path.write_text(json.dumps(shares, indent=1) + '\n')
  shares = json.loads(path.read_text())
  return {
    'score': result['primary']['value'],
    'density': shares['density'],
    'density_real': shares['density_real'],
  }


def table(rows: list[dict]) -> list[dict]:
  """One row an arm: means over seeds, all in percent.

  `lower by` is of the seeds that have a run without the loss as well.
  """
  arms: dict[tuple, dict[int, dict]] = {}
  for row in rows:
    key = row['activation'], row['form'], row['weight']
    arms.setdefault(key, {})[row['seed']] = row
  lines = []
  for (activation, form, weight), by_seed in sorted(arms.items()):

    def mean(name, r=by_seed):
      return statistics.mean(x[name] for x in r.values())

    scores = [100 * row['score'] for row in by_seed.values()]
    without = arms.get((activation, form, 0.0), {}) if weight else {}
    both = without.keys() & by_seed.keys()
    fall = None
    if both:
      dense, sparse = (
        sum(arm[seed]['density'] for seed in both) for arm in (without, by_seed)
      )
      fall = 100 * (1 - sparse / dense)
    lines.append({
      'activation': activation, 'form': form, 'weight': weight,
      'seeds': len(scores), 'score': statistics.mean(scores),
      'sd': statistics.stdev(scores) if len(scores) > 1 else None,
      'density': 100 * mean('density'),
      'density real': 100 * mean('density_real'), 'lower by': fall,
    })  # fmt: skip
  return lines
