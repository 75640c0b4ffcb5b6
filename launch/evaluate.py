"""Scores a finished run on any split that has labels.

  python -m launch.evaluate --workdir=runs/rte
  python -m launch.evaluate --workdir=runs/mnli --split=validation_mismatched
  python -m launch.evaluate --workdir=runs/dylora_rte --ranks=1..8

Prints a table and writes, into <workdir>/evaluation/<which> or --output,
metrics.json, the predictions of each split and their figure. A run of several
seeds is scored for each seed (mean and standard deviation) unless --seed is
given. With --ranks the low-rank update of the run (DyLoRA, LoRA) is cut to each
of them in turn: a row of the table and a folder rank_<b> for each.
"""

import json
import pathlib
import sys
from typing import Any

from absl import app, flags, logging

from glue_jax.inference import open_run
from glue_jax.reporting import files, tables

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run.')
_WHICH = flags.DEFINE_enum(
  'which',
  None,
  ['best', 'last'],
  'Which checkpoint; by default the one that the config selects.',
)
_SEED = flags.DEFINE_integer('seed', None, 'Which seed of several.')
_SPLIT = flags.DEFINE_list(
  'split', [], "Splits, with commas; by default the task's evaluation splits."
)
_RANKS = flags.DEFINE_string(
  'ranks', None, "Ranks to score at, as '1..8' or '1,2,4'; default: the whole."
)
_OUTPUT = flags.DEFINE_string('output', None, 'Folder to write to.')
_DATA_DIR = flags.DEFINE_string(
  'data_dir', None, 'Data folder, if not that of the run.'
)


def parse_ranks(text: str) -> tuple[int, ...]:
  """Returns the ranks of '1..8' or '1,2,4'.

  Raises:
    ValueError: the text is neither, or names no rank.
  """
  first, dots, last = text.partition('..')
  try:
    if dots:
      found = tuple(range(int(first), int(last) + 1))
    else:
      found = tuple(int(part) for part in text.split(','))
  except ValueError:
    found = ()
  if not found:
    raise ValueError(f"--ranks={text}: expected '1..8' or '1,2,4'")
  return found


def evaluate_seed(
  seed: int | None, output: pathlib.Path, ranks: tuple[int, ...]
) -> dict:
  """Scores one seed, at each rank if there are any, and writes the scores.

  Args:
    seed: of several; None for the only one.
    output: folder to write to; that of a rank is rank_<b> in it.
    ranks: of the low-rank update; () = the whole.

  Returns:
    {split: {metric: value}}, with ranks {'<split>, rank <b>': ...}.
  """

  splits = tuple(_SPLIT.value) or None
  run = open_run.open_run(
    _WORKDIR.value, _WHICH.value, seed, splits, _DATA_DIR.value
  )
  if not run.bundle.evals:
    raise ValueError(
      f'task {run.task.name} has no evaluation split; name one with --split'
    )
  if not ranks:
    return evaluate_run(run, seed, output)
  for rank in ranks:
    run.at_rank(rank)  # raises, before any work
  return {
    f'{split}, rank {rank}': values
    for rank in ranks
    for split, values in evaluate_run(
      run.at_rank(rank), seed, output / f'rank_{rank}'
    ).items()
  }


def evaluate_run(run: Any, seed: int | None, output: pathlib.Path) -> dict:
  """Scores a `open_run.Run` and writes what belongs to it.

  Returns:
    {split: {metric: value}}.
  """
  from glue_jax.evaluation import evaluate
  from glue_jax.reporting import plots

  metrics = {}
  for split, batches in run.bundle.evals.items():
    metrics[split], found = evaluate.evaluate(
      run.predict_fn, batches, run.task, run.bundle.tables.get(split)
    )
    if found is not None:
      found.save(output / f'{split}.jsonl')
      if files.is_first_process():
        plots.plot_predictions(found, output / f'{split}.png')
  if files.is_first_process():
    content = {'step': run.step, 'seed': seed, 'metrics': metrics}
    if run.rank is not None:
      content['rank'] = run.rank
    text = json.dumps(content, indent=2) + '\n'
    files.replace_text(output / 'metrics.json', text)
  return metrics


def main(argv: list[str]) -> None:
  """Scores every seed asked for and prints the table."""
  if len(argv) > 1:
    raise app.UsageError(f'unexpected arguments {argv[1:]}; flags need --')
  if not flags.FLAGS['verbosity'].present:
    logging.set_verbosity(logging.WARNING)  # the reader of checkpoints talks
  # Imported here so that --help and a wrong flag answer at once.
  from glue_jax.devices import cpu
  from glue_jax.training import checkpoint

  cpu.keep_memory()
  workdir = pathlib.Path(_WORKDIR.value)
  name = _WHICH.value or 'selected'
  output = pathlib.Path(_OUTPUT.value or workdir / 'evaluation' / name)
  seeds = [_SEED.value]
  if _SEED.value is None:
    folders = sorted(workdir.glob('seed_*'))
    seeds = [int(f.name.removeprefix('seed_')) for f in folders] or [None]
  try:
    ranks = parse_ranks(_RANKS.value) if _RANKS.value is not None else ()
    every = []
    for seed in seeds:
      folder = output / f'seed_{seed}' if len(seeds) > 1 else output
      every.append(evaluate_seed(seed, folder, ranks))
    table = every[0]
    if len(every) > 1:
      table = {
        split: tables.aggregate([metrics[split] for metrics in every])
        for split in table
      }
  except (ValueError, OSError, checkpoint.CheckpointError) as error:
    logging.debug('', exc_info=True)
    sys.exit(f'error: {error}')
  print(tables.metrics_table(table))
  print(f'written to {output}')


if __name__ == '__main__':
  flags.mark_flag_as_required('workdir')
  app.run(main)
