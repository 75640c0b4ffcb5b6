"""Studies DARE on fine-tuned runs: drop-rate curves, and all pairs merged.

  python -m launch.merge_study --base=WEIGHTS --data_dir=DIR --out=runs/dare \\
    --runs=runs/mrpc/seed_0,runs/rte/seed_0,runs/sst2/seed_0,runs/cola/seed_0

Writes rows.jsonl (every measurement), pairs.csv, pairs.txt, drop_rate.png and
pairs.png. Stopped, it goes on where it was when typed again. Settings of the
merges are selected on rows held out from the training splits (which the runs
themselves may have seen), every reported score is of the development splits.
"""

import sys

from absl import app, flags, logging

_BASE = flags.DEFINE_string('base', None, 'Model before fine-tuning.')
_RUNS = flags.DEFINE_list('runs', None, 'Fine-tuned runs, with commas.')
_DATA_DIR = flags.DEFINE_string('data_dir', None, 'If not that of the runs.')
_OUT = flags.DEFINE_string('out', None, 'Folder to write.')
_RATES = flags.DEFINE_list(
  'rates', ['0.1', '0.3', '0.5', '0.7', '0.9', '0.95', '0.99'], 'Of the curves.'
)
_CONTROL = flags.DEFINE_list(
  'control_rates', ['0.1'], 'Curve that drops fine-tuned weights, not deltas.'
)
_DARE = flags.DEFINE_list('dare_rates', ['0.5', '0.9'], 'Before merging.')
_SCALES = flags.DEFINE_list(
  'scales', ['0.3', '0.5', '0.7', '1.0'], 'Of task arithmetic and TIES.'
)
_TRIMS = flags.DEFINE_list('mask_rates', ['0.8'], 'Of TIES.')
_FISHER = flags.DEFINE_list(
  'coefficients', ['0.3', '0.5', '0.7'], "Fisher: the first model's share."
)
_ALPHAS = flags.DEFINE_list('alphas', ['0.7', '0.9', '1.0'], 'Of RegMean.')
_EXAMPLES = flags.DEFINE_integer('examples', 64, 'Of Fisher and RegMean.')
_SELECT = flags.DEFINE_integer('select_rows', 100, 'Held out from training.')
_REPORT = flags.DEFINE_integer('report_rows', 400, 'Of a development split.')
_SEED = flags.DEFINE_integer('seed', 0, 'Of masks and of the rows drawn.')


def main(argv: list[str]) -> None:
  """Runs the study and prints its table."""
  if len(argv) > 1:
    raise app.UsageError(f'unexpected arguments {argv[1:]}; flags need --')
  if not flags.FLAGS['verbosity'].present:
    logging.set_verbosity(logging.WARNING)
  # Imported here so that --help and a wrong flag answer at once.
  from glue_jax.devices import cpu
  from glue_jax.merging import search, sources
  from glue_jax.merging import study as merge_study
  from glue_jax.merging import tasks as merge_tasks

  cpu.keep_memory()
  numbers = lambda flag: tuple(float(text) for text in flag.value)
  try:
    plan = merge_study.Plan(
      rates=numbers(_RATES),
      control_rates=numbers(_CONTROL),
      dare_rates=numbers(_DARE),
      grids={
        'average': {},
        'task_arithmetic': {'scale': numbers(_SCALES)},
        'ties': {'scale': numbers(_SCALES), 'mask_rate': numbers(_TRIMS)},
        'fisher': {'coefficients': numbers(_FISHER)},
        'regmean': {'alpha': numbers(_ALPHAS)},
      },
      examples=_EXAMPLES.value,
      seed=_SEED.value,
    )
    group = sources.open_group(_BASE.value, _RUNS.value)
    rows = merge_tasks.Rows(
      select=_SELECT.value,
      statistics=_EXAMPLES.value,
      report=_REPORT.value,
      seed=_SEED.value,
    )
    tasks = [
      merge_tasks.open_task(source, rows, _DATA_DIR.value)
      for source in group.sources
    ]
    bench = search.Bench(group.base, tasks, group.names)
    study = merge_study.Study(bench, plan, _OUT.value)
    print(study.run())
  except (ValueError, OSError) as error:
    logging.debug('', exc_info=True)
    sys.exit(f'error: {error}')
  print(f'written to {_OUT.value}')


if __name__ == '__main__':
  flags.mark_flags_as_required(['base', 'runs', 'out'])
  app.run(main)
