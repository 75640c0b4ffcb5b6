"""Merges fine-tuned models: averages, task vectors, TIES, Fisher, RegMean.

  python -m launch.merge --base=WEIGHTS --models=runs/rte,runs/mrpc \\
    --method=task_arithmetic --scale=0.5 --dare=0.9 --out=merged
  python -m launch.merge --base=WEIGHTS --models=runs/rte,runs/mrpc \\
    --method=ties --search --data_dir=DIR --out=merged
  python -m launch.merge --models=runs/rte --method=soup --soup=greedy \\
    --data_dir=DIR --out=soup
  python -m launch.merge --models=runs/mcl,runs/electra --method=soup \\
    --soup=weighted --temperature=0.05 --data_dir=DIR --out=soup

Models are finished runs (of one seed), Hugging Face folders or names of the hub
(glue_jax/data/hub.py). Tensors are read a few rows at a time. Each model keeps
its head: OUT has body.safetensors and a folder for each model, merged body and
own head; without such tensors OUT is the one merged model. --search tries the
method's grid (settings given as flags stay fixed), then DARE's rates on the
best of it, on rows held out from the training split, and scores the winner on
the development split.
"""

import dataclasses
import pathlib

from absl import app, flags

from launch.cli import command

FLAGS = flags.FLAGS


def define_flags() -> None:
  """The flags of this command."""
  flags.DEFINE_string('base', None, 'Model before fine-tuning.')
  flags.DEFINE_list('models', None, 'Fine-tuned models, with commas.')
  flags.DEFINE_enum(
    'method',
    None,
    ['average', 'task_arithmetic', 'ties', 'fisher', 'regmean', 'soup'],
    'How they are merged.',
  )
  flags.DEFINE_string('out', None, 'Folder to write.')
  flags.DEFINE_list('dare', [], 'Drop rate; several with --search.')
  flags.DEFINE_enum(
    'drop', 'dare', ['dare', 'drop_only', 'magnitude'], 'What --dare does.'
  )
  flags.DEFINE_enum(
    'drop_target',
    'delta',
    ['delta', 'finetuned'],
    'finetuned drops weights, a negative control.',
  )
  flags.DEFINE_integer('seed', 0, 'Of masks and of the rows drawn.')
  flags.DEFINE_multi_string(
    'exclude',
    None,
    'Tensors that each model keeps, matched from the start of the name; '
    'default: the heads.',
  )
  flags.DEFINE_bool('search', False, 'Select the settings on data.')
  flags.DEFINE_list('tasks', [], 'Of Hugging Face folders, one each.')
  flags.DEFINE_integer('select_rows', 400, 'Held out from training.')
  flags.DEFINE_integer('report_rows', None, 'Default: all.')
  flags.DEFINE_enum(
    'soup',
    'uniform',
    ['uniform', 'greedy', 'weighted'],
    'soup: all, what helps, or all by their scores.',
  )
  flags.DEFINE_float(
    'temperature',
    0.05,
    'soup: shares of a weighted one are softmax(score / T).',
  )
  flags.DEFINE_string('data_dir', None, 'If not that of the runs.')
  flags.DEFINE_float('scale', 1.0, 'task_arithmetic, ties: lambda.')
  flags.DEFINE_float('mask_rate', 0.8, 'ties: share of the deltas trimmed.')
  flags.DEFINE_list('coefficients', [], 'fisher: one a model; default equal.')
  flags.DEFINE_bool('normalize', True, 'fisher: by its norm.')
  flags.DEFINE_enum(
    'fisher',
    'batch',
    ['batch', 'example'],
    'The official or the textbook one.',
  )
  flags.DEFINE_float('alpha', 1.0, 'regmean: factor of off-diagonal entries.')
  flags.DEFINE_integer('examples', 256, 'fisher, regmean: N.')
  flags.mark_flags_as_required(['models', 'method', 'out'])


# Flags that are read by some methods only; those that search chooses itself.
_READ = {
  'average': (),
  'task_arithmetic': ('scale',),
  'ties': ('scale', 'mask_rate'),
  'fisher': ('coefficients', 'normalize', 'fisher', 'examples'),
  'regmean': ('alpha', 'examples'),
  'soup': ('soup', 'temperature'),
}
_NOT_SOUP = ('base', 'dare', 'drop', 'drop_target', 'exclude', 'search')
_DATA = ('data_dir', 'tasks', 'select_rows', 'report_rows')


def check_flags() -> None:
  """Refuses flags that nothing would read.

  Raises:
    UsageError: with the flag's name.
  """
  method, search = FLAGS.method, FLAGS.search
  own = {flag for flags_of in _READ.values() for flag in flags_of}
  unread = own - set(_READ[method])
  if method == 'soup':
    unread |= set(_NOT_SOUP)
  elif not (FLAGS.dare or search):
    unread |= {'drop', 'drop_target'}
  scored = method == 'soup' and FLAGS.soup != 'uniform'
  if FLAGS.soup != 'weighted':
    unread.add('temperature')
  if not (search or scored or method in ('fisher', 'regmean')):
    unread |= set(_DATA)
  wrong = sorted(f'--{name}' for name in unread if FLAGS[name].present)
  if wrong:
    raise app.UsageError(f'nothing reads {wrong} with --method={method}')
  if len(FLAGS.dare) > 1 and not search:
    raise app.UsageError('several rates in --dare go with --search')
  if FLAGS.tasks and len(FLAGS.tasks) != len(FLAGS.models):
    raise app.UsageError('--tasks names one task for each of --models')


def run() -> None:
  """Merges by the flags, and prints what was done."""
  from glue_jax.data import hub
  from glue_jax.merging import merge, sources, tasks
  from glue_jax.merging import search as merge_search
  from glue_jax.merging.dare import Drop
  from glue_jax.merging.settings import NEED_DATA, Settings

  rates = tuple(float(text) for text in FLAGS.dare)
  drop = Drop(
    rates[0] if rates else 0.0, FLAGS.drop, FLAGS.drop_target, FLAGS.seed
  )
  settings = Settings(
    FLAGS.method,
    scale=FLAGS.scale,
    mask_rate=FLAGS.mask_rate,
    coefficients=tuple(map(float, FLAGS.coefficients)) or None,
    normalize=FLAGS.normalize,
    fisher=FLAGS.fisher,
    alpha=FLAGS.alpha,
    examples=FLAGS.examples,
    drop=drop if rates else None,
  )
  base = FLAGS.base and hub.pinned(FLAGS.base)
  models = [hub.pinned(name) for name in FLAGS.models]
  names = sources.model_names(FLAGS.models)
  group = sources.open_group(base, models, FLAGS.exclude, names)
  record = {
    'base': base,
    'models': dict(zip(names, models)),
    'tensors': len(group.names),
  }
  opened = []
  if FLAGS.search or FLAGS.method in NEED_DATA:
    opened = [
      tasks.open_task(source, _rows(), FLAGS.data_dir, task)
      for source, task in zip(group.sources, _tasks(), strict=True)
    ]
  if FLAGS.search:
    # What was given on the command line is fixed.
    grids = merge_search.GRIDS[FLAGS.method].items()
    grids = {field: v for field, v in grids if not FLAGS[field].present}
    rates = rates or merge_search.RATES
    settings, record['report'] = merge_search.select(
      group, opened, settings, grids, rates, drop, FLAGS.out
    )
  models = merge.drop(settings, group.base, group.models)
  statistics = None
  if FLAGS.method in NEED_DATA:
    statistics = tasks.statistics(opened, models, settings)
  merged = merge.combine(
    settings,
    group.base,
    models,
    statistics,
    transpose=group.sources[0].layout == 'hf',
  )
  record['settings'] = dataclasses.asdict(settings)
  for folder in merge.write(FLAGS.out, group, merged, record):
    print(f'written to {folder}')


def run_soup() -> None:
  """Makes a soup by the flags, and prints what was done."""
  from glue_jax.merging import soup
  from glue_jax.reporting import tables

  out = pathlib.Path(FLAGS.out)
  task = _tasks()[0]
  made = soup.make(
    FLAGS.models, FLAGS.soup, out, _rows(), FLAGS.data_dir, task,
    FLAGS.temperature,
  )  # fmt: skip
  record = {'method': 'soup', 'soup': FLAGS.soup, 'models': FLAGS.models}
  soup.write(made, out, record)
  if made.rows:
    print(tables.table(made.rows))
    print(tables.metrics_table({'development': made.report}))
  names = [made.group.sources[i].name for i in made.members]
  print(f'{" + ".join(names)} written to {out}')


def _tasks() -> list[str | None]:
  return FLAGS.tasks or [None] * len(FLAGS.models)


def _rows():
  from glue_jax.merging import tasks

  return tasks.Rows(
    select=FLAGS.select_rows, report=FLAGS.report_rows, seed=FLAGS.seed
  )


def main(argv: list[str]) -> None:
  """Checks the flags and merges."""
  del argv
  check_flags()
  from glue_jax.reporting import outputs

  for folder in filter(None, (FLAGS.base, *FLAGS.models)):
    outputs.refuse(FLAGS.out, outputs.of_folder(folder))
  run_soup() if FLAGS.method == 'soup' else run()


if __name__ == '__main__':
  command.run(__doc__, define_flags, main, computes=True)
