"""Merges fine-tuned models: averages, task vectors, TIES, Fisher, RegMean.

  python -m launch.merge --base=WEIGHTS --models=runs/rte,runs/mrpc \\
    --method=task_arithmetic --scale=0.5 --dare=0.9 --out=merged
  python -m launch.merge --base=WEIGHTS --models=runs/rte,runs/mrpc \\
    --method=ties --search --data_dir=DIR --out=merged
  python -m launch.merge --models=runs/rte --method=soup --soup=greedy \\
    --data_dir=DIR --out=soup

Models are finished runs (of one seed) or Hugging Face folders. Tensors are read
a few rows at a time. Each model keeps its head: OUT has body.safetensors and a
folder for each model, merged body and own head; without such tensors OUT is the
one merged model. --search tries the method's grid (settings given as flags stay
fixed), then DARE's rates on the best of it, on rows held out from the training
split, and scores the winner on the development split.
"""

import dataclasses
import pathlib
import sys

from absl import app, flags, logging

from glue_jax.merging import soup
from glue_jax.reporting import tables

FLAGS = flags.FLAGS
_BASE = flags.DEFINE_string('base', None, 'Model before fine-tuning.')
_MODELS = flags.DEFINE_list('models', None, 'Fine-tuned models, with commas.')
_METHOD = flags.DEFINE_enum(
  'method',
  None,
  ['average', 'task_arithmetic', 'ties', 'fisher', 'regmean', 'soup'],
  'How they are merged.',
)
_OUT = flags.DEFINE_string('out', None, 'Folder to write.')
_DARE = flags.DEFINE_list('dare', [], 'Drop rate; several with --search.')
_DROP = flags.DEFINE_enum(
  'drop', 'dare', ['dare', 'drop_only', 'magnitude'], 'What --dare does.'
)
_TARGET = flags.DEFINE_enum(
  'drop_target',
  'delta',
  ['delta', 'finetuned'],
  'finetuned drops weights, a negative control.',
)
_SEED = flags.DEFINE_integer('seed', 0, 'Of masks and of the rows drawn.')
_EXCLUDE = flags.DEFINE_multi_string(
  'exclude',
  None,
  'Tensors that each model keeps, matched from the start of the name; default: '
  'the heads.',
)
_SEARCH = flags.DEFINE_bool('search', False, 'Select the settings on data.')
_DATA_DIR = flags.DEFINE_string('data_dir', None, 'If not that of the runs.')
_TASKS = flags.DEFINE_list('tasks', [], 'Of Hugging Face folders, one each.')
_SELECT = flags.DEFINE_integer('select_rows', 400, 'Held out from training.')
_REPORT = flags.DEFINE_integer('report_rows', None, 'Default: all.')
_SOUP = flags.DEFINE_enum(
  'soup', 'uniform', ['uniform', 'greedy'], 'soup: all, or what helps.'
)
flags.DEFINE_float('scale', 1.0, 'task_arithmetic, ties: lambda.')
flags.DEFINE_float('mask_rate', 0.8, 'ties: share of the deltas trimmed.')
flags.DEFINE_list('coefficients', [], 'fisher: one a model; default equal.')
flags.DEFINE_bool('normalize', True, 'fisher: by the norm of the information.')
flags.DEFINE_enum(
  'fisher', 'batch', ['batch', 'example'], 'The official one, or the textbook.'
)
flags.DEFINE_float('alpha', 1.0, 'regmean: factor of off-diagonal entries.')
flags.DEFINE_integer('examples', 256, 'fisher, regmean: N.')

# Flags that are read by some methods only; those that search chooses itself.
_READ = {
  'average': (),
  'task_arithmetic': ('scale',),
  'ties': ('scale', 'mask_rate'),
  'fisher': ('coefficients', 'normalize', 'fisher', 'examples'),
  'regmean': ('alpha', 'examples'),
  'soup': ('soup',),
}
_NOT_SOUP = ('base', 'dare', 'drop', 'drop_target', 'exclude', 'search')
_DATA = ('data_dir', 'tasks', 'select_rows', 'report_rows')


def check_flags() -> None:
  """Refuses flags that nothing would read.

  Raises:
    UsageError: with the flag's name.
  """
  method, search = _METHOD.value, _SEARCH.value
  own = {flag for flags_of in _READ.values() for flag in flags_of}
  unread = own - set(_READ[method])
  if method == 'soup':
    unread |= set(_NOT_SOUP)
  elif not (_DARE.value or search):
    unread |= {'drop', 'drop_target'}
  greedy = method == 'soup' and _SOUP.value == 'greedy'
  if not (search or greedy or method in ('fisher', 'regmean')):
    unread |= set(_DATA)
  wrong = sorted(f'--{name}' for name in unread if FLAGS[name].present)
  if wrong:
    raise app.UsageError(f'nothing reads {wrong} with --method={method}')
  if len(_DARE.value) > 1 and not search:
    raise app.UsageError('several rates in --dare go with --search')
  if _TASKS.value and len(_TASKS.value) != len(_MODELS.value):
    raise app.UsageError('--tasks names one task for each of --models')


def run() -> None:
  """Merges by the flags, and prints what was done."""
  from glue_jax.merging import merge, sources, tasks
  from glue_jax.merging import search as merge_search
  from glue_jax.merging.dare import Drop

  rates = tuple(float(text) for text in _DARE.value)
  drop = Drop(
    rates[0] if rates else 0.0, _DROP.value, _TARGET.value, _SEED.value
  )
  settings = merge.Settings(
    _METHOD.value,
    scale=FLAGS.scale,
    mask_rate=FLAGS.mask_rate,
    coefficients=tuple(map(float, FLAGS.coefficients)) or None,
    normalize=FLAGS.normalize,
    fisher=FLAGS.fisher,
    alpha=FLAGS.alpha,
    examples=FLAGS.examples,
    drop=drop if rates else None,
  )
  group = sources.open_group(_BASE.value, _MODELS.value, _EXCLUDE.value)
  record = {
    'base': _BASE.value,
    'models': dict(zip((s.name for s in group.sources), _MODELS.value)),
    'tensors': len(group.names),
  }
  opened = []
  if _SEARCH.value or _METHOD.value in merge.NEED_DATA:
    opened = [
      tasks.open_task(source, _rows(), _DATA_DIR.value, task)
      for source, task in zip(group.sources, _tasks(), strict=True)
    ]
  if _SEARCH.value:
    # What was given on the command line is fixed.
    grids = merge_search.GRIDS[_METHOD.value].items()
    grids = {field: v for field, v in grids if not FLAGS[field].present}
    rates = rates or merge_search.RATES
    settings, record['report'] = merge_search.select(
      group, opened, settings, grids, rates, drop, _OUT.value
    )
  models = merge.drop(settings, group.base, group.models)
  statistics = None
  if _METHOD.value in merge.NEED_DATA:
    statistics = tasks.statistics(opened, models, settings)
  merged = merge.combine(
    settings,
    group.base,
    models,
    statistics,
    transpose=group.sources[0].layout == 'hf',
  )
  record['settings'] = dataclasses.asdict(settings)
  for folder in merge.write(_OUT.value, group, merged, record):
    print(f'written to {folder}')


def run_soup() -> None:
  """Makes a soup by the flags, and prints what was done."""

  out = pathlib.Path(_OUT.value)
  task = _tasks()[0]
  found = soup.make(
    _MODELS.value, _SOUP.value, out, _rows(), _DATA_DIR.value, task
  )
  record = {'method': 'soup', 'soup': _SOUP.value, 'models': _MODELS.value}
  soup.write(found, out, record)
  if found.rows:
    print(tables.table(found.rows))
    print(tables.metrics_table({'development': found.report}))
  names = [found.group.sources[i].name for i in found.members]
  print(f'{" + ".join(names)} written to {out}')


def _tasks() -> list[str | None]:
  return _TASKS.value or [None] * len(_MODELS.value)


def _rows():
  from glue_jax.merging import tasks

  return tasks.Rows(
    select=_SELECT.value, report=_REPORT.value, seed=_SEED.value
  )


def main(argv: list[str]) -> None:
  """Checks the flags and merges."""
  if len(argv) > 1:
    raise app.UsageError(f'unexpected arguments {argv[1:]}; flags need --')
  check_flags()
  if not flags.FLAGS['verbosity'].present:
    logging.set_verbosity(logging.WARNING)
  # Imported here so that --help and a wrong flag answer at once.
  from glue_jax.devices import cpu
  from glue_jax.training import checkpoint

  cpu.keep_memory()
  try:
    run_soup() if _METHOD.value == 'soup' else run()
  except (ValueError, OSError, checkpoint.CheckpointError) as error:
    logging.debug('', exc_info=True)
    sys.exit(f'error: {error}')


if __name__ == '__main__':
  flags.mark_flags_as_required(['models', 'method', 'out'])
  app.run(main)
