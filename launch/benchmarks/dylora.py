"""DyLoRA once, beside LoRA trained at every rank, and LoRA cut down.

For each task and seed: one DyLoRA of the largest rank, scored at all ranks; a
LoRA for each rank (a search over ranks); the largest LoRA cut to each rank. All
have alpha 16, the same rows, steps and learning rate. Times are wall time of a
whole run (data, compilation, training, evaluation); DyLoRA's has the scoring at
every rank in it, and it goes first, so that it pays for reading the data.

  python -m launch.benchmark dylora --out=FOLDER --seeds=0,1,2
    [--ranks=1,2,4,8] [--modes=nested] [--data_dir=DIR --weights=WEIGHTS]

Prints the table again when all is there; stopped, it goes on.
"""

import time

import numpy as np
from absl import flags

from launch.benchmarks.parts import glue_cells

FLAGS = flags.FLAGS
ALPHA = 16.0


def define_flags() -> None:
  """Defines the flags; only of the benchmark that runs."""
  glue_cells.define_flags()
  flags.DEFINE_list('ranks', ['1', '2', '4', '8'], 'Ranks of the search.')
  flags.DEFINE_list('modes', ['nested'], 'Of DyLoRA: frozen, nested.')


def main(argv: list[str]) -> None:
  """Runs what isn't there yet and prints a table for each task and mode."""
  del argv
  ranks = sorted(map(int, FLAGS.ranks))
  arms = [
    {'method': 'dylora', 'rank': ranks[-1], 'mode': m} for m in FLAGS.modes
  ]
  arms += [{'method': 'lora', 'rank': rank} for rank in ranks]
  cells = [
    {'task': task, 'seed': int(seed)} | arm
    for task in FLAGS.tasks
    for seed in FLAGS.seeds
    for arm in arms
  ]
  rows = glue_cells.rows(cells, lambda cell: finish(cell, tuple(ranks)))
  for task in FLAGS.tasks:
    for mode in FLAGS.modes:
      report([row for row in rows if row['task'] == task], ranks, mode)


def finish(cell: dict, ranks: tuple[int, ...]) -> dict:
  """Trains and scores one cell: {'scores': {rank: metric}, 'seconds', ...}."""
  method, rank = cell['method'], cell['rank']
  arguments = {'rank': rank, 'alpha': ALPHA}
  if method == 'dylora':
    arguments['mode'] = cell['mode']
  config = glue_cells.settings(
    cell['task'], cell['seed'], ((method, arguments),)
  )
  name = '_'.join(str(value) for value in cell.values())
  folder, record, seconds = glue_cells.train(config, name)
  start = time.perf_counter()
  # Smaller LoRAs are scored as they were trained.
  scores = glue_cells.score(folder, ranks if rank == ranks[-1] else (rank,))
  return {
    'scores': scores,
    'seconds': seconds,
    'scoring_seconds': time.perf_counter() - start,
    'steps': record['result']['step'],
    'parameters_trained': record['parameters_trained'],
  }


def report(rows: list[dict], ranks: list[int], mode: str) -> None:
  """Prints one task's table: score by rank, times, and their ratio."""
  ours = [row for row in rows if row.get('mode') == mode]
  lora = {
    rank: [r for r in rows if r['method'] == 'lora' and r['rank'] == rank]
    for rank in ranks
  }

  def pick(rows, rank):
    return [row['scores'][str(rank)] for row in rows]

  task, largest = rows[0]['task'], ranks[-1]
  print(f'\n{task}, DyLoRA {mode}, {len(ours)} seeds')
  heads = ('rank', 'DyLoRA', 'LoRA', f'LoRA r={largest} cut', 'LoRA s')
  print(''.join(f'{head:>20}' for head in heads))
  gaps = []
  for rank in ranks:
    mine, theirs = pick(ours, rank), pick(lora[rank], rank)
    gaps.append(np.mean(mine) - np.mean(theirs))
    cells = [
      rank,
      *map(glue_cells.spread, (mine, theirs, pick(lora[largest], rank))),
      f'{np.mean([row["seconds"] for row in lora[rank]]):.1f}',
    ]
    print(''.join(f'{cell:>20}' for cell in cells))
  once = np.mean([row['seconds'] + row['scoring_seconds'] for row in ours])
  search = sum(
    np.mean([row['seconds'] for row in rank_rows])
    for rank_rows in lora.values()
  )
  print(f'mean difference to LoRA {100 * np.mean(gaps):+.2f} points')
  print(
    f'wall time: DyLoRA {once:.1f} s, search over {len(ranks)} ranks '
    f'{search:.1f} s, ratio {search / once:.2f}'
  )
