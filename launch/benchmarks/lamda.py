"""LaMDA beside LoRA of equal rank: updated parameters, memory, accuracy.

Arms: lora, lamda (svd_residual), lamda_zero (svd_zero), lamda_plus (LaMDA++:
ranks by the spectrum of the weights, the same mean),
on all linear layers of a block. For each: the mean number of elements of the
adapters that a step updates; the compiler's temporary memory and the optimizer
state of the step, early and after eta of the run; and for each task and seed
the score and the wall time of a run.

  python -m launch.benchmark lamda --out=FOLDER --seeds=0,1,2
    [--rank=8] [--data_dir=DIR --weights=WEIGHTS]

Prints the table again when all is there; stopped, it goes on.
"""

from typing import Any

import numpy as np
from absl import app, flags

from configs.finetune import lamda_plus
from configs.finetune.lamda import TARGETS
from glue_jax import tree
from glue_jax.peft import lamda
from glue_jax.probes import step_memory
from glue_jax.training.begin import begin
from launch.benchmarks.parts import glue_cells

FLAGS = flags.FLAGS
ARMS = ('lora', 'lamda', 'lamda_zero', 'lamda_plus')
# Steps of the run that the programs are compiled for; only shares matter.
TOTAL = 1000


def define_flags() -> None:
  """Defines the flags; only of the benchmark that runs."""
  glue_cells.define_flags()
  flags.DEFINE_list('arms', list(ARMS), 'Which arms.')
  flags.DEFINE_integer('rank', 8, 'Rank; LaMDA++: the mean.')
  flags.DEFINE_float('alpha', 8.0, 'Scale alpha / rank.')
  flags.DEFINE_float('eta', 0.3, 'Share of the run in which B learns.')
  flags.DEFINE_integer('rows', 32, 'Of the batch whose memory is reported.')
  flags.DEFINE_integer('length', 128, 'Of that batch, in tokens.')


def main(argv: list[str]) -> None:
  """Runs what isn't there yet and prints the tables."""
  del argv
  unknown = set(FLAGS.arms) - set(ARMS)
  if unknown:
    raise app.UsageError(f'unknown arms {sorted(unknown)}; there are {ARMS}')
  shape = {name: getattr(FLAGS, name) for name in ('rank', 'rows', 'length')}
  memory = glue_cells.rows(
    [{'arm': arm, 'part': 'memory'} | shape for arm in FLAGS.arms], programs
  )
  scores = glue_cells.rows(
    [
      {'arm': arm, 'task': task, 'seed': int(seed), 'rank': FLAGS.rank}
      for task in FLAGS.tasks
      for seed in FLAGS.seeds
      for arm in FLAGS.arms
    ],
    finish,
  )
  report(memory, scores)


def methods(arm: str, weights: str) -> Any:
  """The config's methods of an arm."""
  shared = dict(targets=TARGETS, alpha=FLAGS.alpha)
  if arm == 'lora':
    return (('lora', shared | {'rank': FLAGS.rank}),)
  shared['eta'] = FLAGS.eta
  if arm == 'lamda_plus':
    ranks = lamda_plus.ranks(weights, FLAGS.rank)
    return (('lamda', shared | {'ranks': ranks}),)
  init = 'svd_zero' if arm == 'lamda_zero' else 'svd_residual'
  return (('lamda', shared | {'rank': FLAGS.rank, 'init': init}),)


def settings(arm: str, task: str, seed: int) -> Any:
  """The completed config of a cell."""
  weights = glue_cells.settings(task, seed, ()).model.weights
  return glue_cells.settings(task, seed, methods(arm, weights))


def programs(cell: dict) -> dict:
  """Updated parameters, and memory of the first and of the last step."""
  config = settings(cell['arm'], FLAGS.tasks[0], 0)
  run = begin(config, 0, total=TOTAL)
  flat = tree.flatten(run.parts.params)
  if cell['arm'] == 'lora':
    updated = sum(x.size for n, x in flat.items() if '/lora_' in n)
  else:
    updated = lamda.updated_parameters(
      {n: x.shape for n, x in flat.items() if n.endswith('/lamda_b')},
      lambda rank: lamda.freezing_steps(rank, TOTAL, FLAGS.eta),
      TOTAL,
    )
  size = cell['rows'], cell['length']
  return {
    'updated': updated,
    'early': step_memory.later_step(run, 0, *size),
    'late': step_memory.later_step(run, TOTAL - 1, *size),
  }


def finish(cell: dict) -> dict:
  """Trains one cell: {'score', 'seconds', 'programs_compiled'}."""
  config = settings(cell['arm'], cell['task'], cell['seed'])
  name = '_'.join(str(value) for value in cell.values())
  _, record, seconds = glue_cells.train(config, name)
  return {
    'score': record['result']['primary']['value'],
    'seconds': seconds,
    'programs_compiled': record['programs_compiled'],
  }


def report(memory: list[dict], scores: list[dict]) -> None:
  """Prints both tables."""
  print(
    f'\nrank {FLAGS.rank}, eta {FLAGS.eta}, batch {FLAGS.rows} x '
    f'{FLAGS.length}; early / late step'
  )
  heads = ('updated/step', 'learning', 'temporary MB', 'optimizer MB')
  print(f'{"":<12}' + ''.join(f'{head:>22}' for head in heads))
  for row in memory:

    def pair(key, form, row=row):
      return ' / '.join(
        form.format(row[when][key]) for when in ('early', 'late')
      )

    cells = (
      f'{row["updated"]:,.0f}',
      pair('learning', '{:,}'),
      pair('temporary_mb', '{:.1f}'),
      pair('optimizer_mb', '{:.2f}'),
    )
    print(f'{row["arm"]:<12}' + ''.join(f'{cell:>22}' for cell in cells))
  print(f'\n{"":<12}' + ''.join(f'{task:>22}{"s":>10}' for task in FLAGS.tasks))
  for arm in FLAGS.arms:
    line = f'{arm:<12}'
    for task in FLAGS.tasks:
      cell_rows = [r for r in scores if r['arm'] == arm and r['task'] == task]
      seconds = np.mean([row['seconds'] for row in cell_rows])
      line += f'{glue_cells.spread([r["score"] for r in cell_rows]):>22}'
      line += f'{seconds:>10.1f}'
    print(line)
