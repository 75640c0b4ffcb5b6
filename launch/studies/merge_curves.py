"""Studies DARE on fine-tuned runs: drop-rate curves, and all pairs merged.

  python -m launch.study merge-curves --base=WEIGHTS --data_dir=DIR \\
    --out=runs/dare \\
    --runs=runs/mrpc/seed_0,runs/rte/seed_0,runs/sst2/seed_0,runs/cola/seed_0

Writes rows.jsonl (every measurement), pairs.csv, pairs.txt, drop_rate.png and
pairs.png. Stopped, it goes on where it was when typed again. Settings of the
merges are selected on rows held out from the training splits (which the runs
themselves may have seen), every reported score is of the development splits.
"""

from absl import flags

FLAGS = flags.FLAGS


def define_flags() -> None:
  """The flags of this study."""
  names = flags.DEFINE_list
  flags.DEFINE_string('base', None, 'Model before fine-tuning.')
  names('runs', None, 'Fine-tuned runs, with commas.')
  flags.DEFINE_string('data_dir', None, 'If not that of the runs.')
  flags.DEFINE_string('out', None, 'Folder to write.')
  rates = ['0.1', '0.3', '0.5', '0.7', '0.9', '0.95', '0.99']
  names('rates', rates, 'Of the curves.')
  names(
    'control_rates',
    ['0.1'],
    'Curve that drops fine-tuned weights, not deltas.',
  )
  names('dare_rates', ['0.5', '0.9'], 'Before merging.')
  scales = ['0.3', '0.5', '0.7', '1.0']
  names('scales', scales, 'Of task arithmetic and TIES.')
  names('mask_rates', ['0.8'], 'Of TIES.')
  shares = ['0.3', '0.5', '0.7']
  names('coefficients', shares, "Fisher: the first model's share.")
  names('alphas', ['0.7', '0.9', '1.0'], 'Of RegMean.')
  flags.DEFINE_integer('examples', 64, 'Of Fisher and RegMean.')
  flags.DEFINE_integer('select_rows', 100, 'Held out from training.')
  flags.DEFINE_integer('report_rows', 400, 'Of a development split.')
  flags.DEFINE_integer('seed', 0, 'Of masks and of the rows drawn.')
  flags.mark_flags_as_required(['base', 'runs', 'out'])


def main(argv: list[str]) -> None:
  """Runs the study and prints its table."""
  del argv
  # Imported here so that a wrong flag answers at once.
  from glue_jax.devices import cpu
  from glue_jax.merging import search, sources, study
  from glue_jax.merging import tasks as merge_tasks

  cpu.keep_memory()
  scales = numbers('scales')
  plan = study.Plan(
    rates=numbers('rates'),
    control_rates=numbers('control_rates'),
    dare_rates=numbers('dare_rates'),
    grids={
      'average': {},
      'task_arithmetic': {'scale': scales},
      'ties': {'scale': scales, 'mask_rate': numbers('mask_rates')},
      'fisher': {'coefficients': numbers('coefficients')},
      'regmean': {'alpha': numbers('alphas')},
    },
    examples=FLAGS.examples,
    seed=FLAGS.seed,
  )
  group = sources.open_group(FLAGS.base, FLAGS.runs)
  rows = merge_tasks.Rows(
    select=FLAGS.select_rows,
    statistics=FLAGS.examples,
    report=FLAGS.report_rows,
    seed=FLAGS.seed,
  )
  tasks = [
    merge_tasks.open_task(source, rows, FLAGS.data_dir)
    for source in group.sources
  ]
  bench = search.Bench(group.base, tasks, group.names)
  print(study.Study(bench, plan, FLAGS.out).run())
  print(f'written to {FLAGS.out}')


def numbers(flag: str) -> tuple[float, ...]:
  """The values of a list flag as numbers.

  Raises:
    ValueError: one is none.
  """
  try:
    return tuple(map(float, FLAGS[flag].value))
  except ValueError as error:
    raise ValueError(f'--{flag}: {error}; expected numbers') from None
