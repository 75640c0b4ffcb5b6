"""Makes the file that a benchmark's board takes, and checks it.

  python -m launch.submit --benchmark=glue --run=runs/cola --run=runs/mnli \\
    --output=glue.zip
  python -m launch.submit --benchmark=squad --run=runs/squad_v2 \\
    --output=predictions.json

GLUE: each run gives the files of its task (MNLI's also AX.tsv, from the same
model). Tasks without a run are filled with a constant, because the board takes
complete zips only; the table printed and written beside the zip says which.
Instead of a run, --predictions=RTE.tsv=FILE takes what launch.predict wrote.
SQuAD: {id: text} of --split; with SQuAD 2.0 also <output>_odds.json.
"""

import pathlib
import sys
from typing import Any

from absl import app, flags, logging

from glue_jax.inference import open_run
from glue_jax.reporting import files as files_lib
from glue_jax.reporting import tables
from glue_jax.weights import run_folder

_BENCHMARK = flags.DEFINE_enum(
  'benchmark', None, ['glue', 'squad'], 'Whose board.'
)
_RUN = flags.DEFINE_multi_string('run', [], 'Folder of a run; may be repeated.')
_PREDICTIONS = flags.DEFINE_multi_string(
  'predictions', [], 'FILE_IN_ZIP=PATH.jsonl; may be repeated.'
)
_WHICH = flags.DEFINE_enum(
  'which',
  None,
  ['best', 'last'],
  'Which checkpoint; by default the one that the config selects.',
)
_SEED = flags.DEFINE_integer('seed', None, 'Which seed of several.')
_SPLIT = flags.DEFINE_string('split', 'validation', 'Split for SQuAD.')
_OUTPUT = flags.DEFINE_string('output', None, 'File to write.')
_DATA_DIR = flags.DEFINE_string(
  'data_dir', None, 'Data folder, if not that of the run.'
)


def load(workdir: str, splits: tuple[str, ...]) -> Any:
  """Loads a run with these splits.

  Args:
    workdir: folder of the run.
    splits: names of the splits.
  """

  return open_run.open_run(
    workdir, _WHICH.value, _SEED.value, splits, _DATA_DIR.value
  )


def glue_predictions() -> dict[str, list[dict]]:
  """Records by file of the zip, from --run and --predictions.

  Raises:
    ValueError: a run of no GLUE task, or two sources for one file.
  """
  from glue_jax.data.tasks import by_name
  from glue_jax.inference import predict, submit

  found: dict[str, list[dict]] = {}

  def add(file, records):
    if file in found:
      raise ValueError(f'two sources for {file}; give one run a task')
    found[file] = records

  files = submit.glue_files()
  for item in _PREDICTIONS.value:
    file, equals, path = item.partition('=')
    if not equals:
      raise ValueError(f'--predictions={item}: expected FILE_IN_ZIP=PATH')
    add(file, files_lib.read_lines(path))
  for workdir in _RUN.value:
    folder = run_folder.list_runs(workdir, seed=_SEED.value)[0].path
    name = run_folder.read_config(folder).task['name']
    if name not in submit.GLUE_TASKS:
      raise ValueError(f'{workdir}: {name} is none of {submit.GLUE_TASKS}')
    parts = {f: s for f, (task, s) in files.items() if task.name == name}
    run = load(workdir, tuple(parts.values()))
    for file, split in parts.items():
      add(file, list(predict.predict_split(run, split).records()))
    if name == 'mnli' and 'AX.tsv' not in found:
      ax, data_dir = by_name.get('ax'), run.config.data.get('data_dir')
      records = predict.predict_task(
        run, ax, 'test', _DATA_DIR.value or data_dir
      )
      add('AX.tsv', list(records.records()))
  return found


def submit_glue() -> str:
  """Writes the zip and its report; returns the report."""
  from glue_jax.inference import submit

  rows = submit.write_glue(_OUTPUT.value, glue_predictions())
  text = tables.results_table(rows)
  filled = sum(row['prediction'] != 'from a run' for row in rows)
  if filled:
    text += (
      f'\n{filled} of {len(rows)} files hold a constant because the task was '
      'not run: the total score means nothing'
    )
  files_lib.replace_text(f'{_OUTPUT.value}.report.txt', text + '\n')
  return text


def submit_squad() -> str:
  """Writes the json files; returns a line about them."""
  from glue_jax.inference import predict, submit

  if len(_RUN.value) != 1 or _PREDICTIONS.value:
    raise ValueError('--benchmark=squad takes exactly one --run')
  run = load(_RUN.value[0], (_SPLIT.value,))
  if run.task.kind != 'span':
    raise ValueError(f'{run.task.name} is no question answering task')
  found = predict.predict_split(run, _SPLIT.value)
  ids = [row['id'] for row in run.bundle.tables[_SPLIT.value].rows]
  output = pathlib.Path(_OUTPUT.value)
  odds = None
  if run.task.unanswerable:
    odds = output.with_name(f'{output.stem}_odds{output.suffix}')
  submit.write_squad(output, list(found.records()), ids, odds)
  return f'{len(ids)} answers' + (f', odds in {odds}' if odds else '')


def main(argv: list[str]) -> None:
  """Checks the flags and writes the submission."""
  if len(argv) > 1:
    raise app.UsageError(f'unexpected arguments {argv[1:]}; flags need --')
  if not _RUN.value and not _PREDICTIONS.value:
    raise app.UsageError('give --run or --predictions')
  if not flags.FLAGS['verbosity'].present:
    logging.set_verbosity(logging.WARNING)  # the reader of checkpoints talks
  from glue_jax.training import checkpoint

  try:
    glue = _BENCHMARK.value == 'glue'
    print(submit_glue() if glue else submit_squad())
  except (ValueError, OSError, checkpoint.CheckpointError) as error:
    logging.debug('', exc_info=True)
    sys.exit(f'error: {error}')
  print(f'written to {_OUTPUT.value} and read back')


if __name__ == '__main__':
  flags.mark_flags_as_required(['benchmark', 'output'])
  app.run(main)
