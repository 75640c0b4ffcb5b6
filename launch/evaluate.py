"""Scores a finished run on any split that has labels.

  python -m launch.evaluate --workdir=runs/rte
  python -m launch.evaluate --workdir=runs/mnli --split=validation_mismatched

Prints a table and writes, into <workdir>/evaluation/<which> or --output,
metrics.json, the predictions of each split and their figure. A run of several
seeds is scored for each seed (mean and standard deviation) unless --seed is
given.
"""

import json
import pathlib
import sys

from absl import app, flags, logging

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
_OUTPUT = flags.DEFINE_string('output', None, 'Folder to write to.')
_DATA_DIR = flags.DEFINE_string(
  'data_dir', None, 'Data folder, if not that of the run.'
)


def evaluate_run(seed: int | None, output: pathlib.Path) -> dict:
  """Scores one seed and writes what belongs to it.

  Args:
    seed: of several; None for the only one.
    output: folder to write to.

  Returns:
    {split: {metric: value}}.
  """
  from glue_jax import evaluate, plots, predict, writers

  splits = tuple(_SPLIT.value) or None
  run = predict.open_run(
    _WORKDIR.value, _WHICH.value, seed, splits, _DATA_DIR.value
  )
  if not run.bundle.evals:
    raise ValueError(
      f'task {run.task.name} has no evaluation split; name one with --split'
    )
  metrics = {}
  for split, batches in run.bundle.evals.items():
    metrics[split], found = evaluate.evaluate(
      run.predict_fn, batches, run.task, run.bundle.tables.get(split)
    )
    if found is not None:
      found.save(output / f'{split}.jsonl')
      if writers.is_first_process():
        plots.plot_predictions(found, output / f'{split}.png')
  if writers.is_first_process():
    content = {'step': run.step, 'seed': seed, 'metrics': metrics}
    text = json.dumps(content, indent=2) + '\n'
    writers.replace_text(output / 'metrics.json', text)
  return metrics


def main(argv: list[str]) -> None:
  """Scores every seed asked for and prints the table."""
  if len(argv) > 1:
    raise app.UsageError(f'unexpected arguments {argv[1:]}; flags need --')
  if not flags.FLAGS['verbosity'].present:
    logging.set_verbosity(logging.WARNING)  # the reader of checkpoints talks
  # Imported here so that --help and a wrong flag answer at once.
  from glue_jax import checkpoint, cpu, report

  cpu.keep_memory()
  workdir = pathlib.Path(_WORKDIR.value)
  name = _WHICH.value or 'selected'
  output = pathlib.Path(_OUTPUT.value or workdir / 'evaluation' / name)
  seeds = [_SEED.value]
  if _SEED.value is None:
    folders = sorted(workdir.glob('seed_*'))
    seeds = [int(f.name.removeprefix('seed_')) for f in folders] or [None]
  try:
    every = []
    for seed in seeds:
      folder = output / f'seed_{seed}' if len(seeds) > 1 else output
      every.append(evaluate_run(seed, folder))
    table = every[0]
    if len(every) > 1:
      table = {
        split: report.aggregate([metrics[split] for metrics in every])
        for split in table
      }
  except (ValueError, OSError, checkpoint.CheckpointError) as error:
    logging.debug('', exc_info=True)
    sys.exit(f'error: {error}')
  print(report.metrics_table(table))
  print(f'written to {output}')


if __name__ == '__main__':
  flags.mark_flag_as_required('workdir')
  app.run(main)
