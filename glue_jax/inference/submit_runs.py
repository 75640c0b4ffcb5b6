"""Submissions from finished runs: which run gives which file of a benchmark."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from glue_jax.data.tasks import by_name
from glue_jax.inference import predict, submit
from glue_jax.reporting import files, tables
from glue_jax.weights import run_folder

# Opens a workdir's run with the splits named.
Opener = Callable[[pathlib.Path, tuple[str, ...]], Any]


def folders(
  workdirs: Sequence[str], seed: int | None = None, stage: str | None = None
) -> list[pathlib.Path]:
  """Returns the folder of each run, one for each stage of a workdir.

  Args:
    workdirs: of the runs.
    seed: which of several.
    stage: only this one; None = every stage.

  Raises:
    ValueError: no such run, or several seeds to choose from.
  """
  paths = []
  for workdir in workdirs:
    runs = run_folder.list_runs(workdir, stage, seed)
    for name in dict.fromkeys(run.stage for run in runs):
      paths.append(run_folder.one(workdir, name or None, seed).path)
  return paths


def glue_records(
  runs: Sequence[pathlib.Path],
  predictions: Sequence[str],
  opener: Opener,
  data_dir: str | None = None,
) -> dict[str, list[dict]]:
  """Records by file of GLUE's zip.

  Args:
    runs: folders of single runs, one a task; see `folders`.
    predictions: 'FILE_IN_ZIP=PATH' of records that were written before.
    opener: opens a run.
    data_dir: of the diagnostic set AX; None = that of MNLI's run.

  Raises:
    ValueError: a run of no GLUE task, or two sources for one file.
  """
  records: dict[str, list[dict]] = {}

  def add(file, rows):
    if file in records:
      raise ValueError(f'two sources for {file}; give one run a task')
    records[file] = rows

  for item in predictions:
    file, equals, path = item.partition('=')
    if not equals:
      raise ValueError(f'--predictions={item}: expected FILE_IN_ZIP=PATH')
    add(file, files.read_lines(path))
  for workdir in runs:
    name = run_folder.read_config(workdir).task['name']
    if name not in submit.GLUE_TASKS:
      raise ValueError(f'{workdir}: {name} is none of {submit.GLUE_TASKS}')
    parts = {
      file: split
      for file, (task, split) in submit.glue_files().items()
      if task.name == name
    }
    run = opener(workdir, tuple(parts.values()))
    for file, split in parts.items():
      add(file, list(predict.predict_split(run, split).records()))
    if name == 'mnli' and 'AX.tsv' not in records:
      ax = predict.predict_task(
        run,
        by_name.get('ax'),
        'test',
        data_dir or run.config.data.get('data_dir'),
      )
      add('AX.tsv', list(ax.records()))
  return records


def write_glue(output: str, records: dict[str, list[dict]]) -> str:
  """Writes the zip and its report.

  Args:
    output: the zip; the report is `<output>.report.txt`.
    records: see `glue_records`; other files are filled with a constant.

  Returns:
    The report.
  """
  rows = submit.write_glue(output, records)
  text = tables.results_table(rows)
  filled = sum(row['prediction'] != 'from a run' for row in rows)
  if filled:
    text += (
      f'\n{filled} of {len(rows)} files hold a constant because the task was '
      'not run: the total score means nothing'
    )
  files.replace_text(f'{output}.report.txt', text + '\n')
  return text


def write_squad(
  output: str, workdir: pathlib.Path, split: str, opener: Opener
) -> str:
  """Writes the answers of a run, with SQuAD 2.0 the odds beside them too.

  Args:
    output: file of the answers.
    workdir: the run's own folder.
    split: whose questions are answered.
    opener: opens a run.

  Returns:
    A line about them.

  Raises:
    ValueError: a run of another kind of task.
  """
  run = opener(workdir, (split,))
  if run.task.kind != 'span':
    raise ValueError(f'{run.task.name} is no question answering task')
  answers = predict.predict_split(run, split)
  ids = [row['id'] for row in run.bundle.tables[split].rows]
  path, odds = pathlib.Path(output), None
  if run.task.unanswerable:
    odds = path.with_name(f'{path.stem}_odds{path.suffix}')
  submit.write_squad(path, list(answers.records()), ids, odds)
  return f'{len(ids)} answers' + (f', odds in {odds}' if odds else '')
