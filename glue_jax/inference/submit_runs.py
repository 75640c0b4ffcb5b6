"""Submissions from finished runs: which run gives which file of a benchmark."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from glue_jax.data import load
from glue_jax.data.tasks import by_name
from glue_jax.data.tasks.task import Task
from glue_jax.inference import predict, submit, submit_superglue
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


@dataclasses.dataclass(frozen=True)
class Board:
  """A board that takes a zip with a file for each test split.

  Attributes:
    tasks: names of its tasks.
    files: {file in the zip: (task, split)}.
    others: {task: names of those that its runs predict as well}.
    write: (path, {file: records}, data folder) -> rows of the report.
  """

  tasks: tuple[str, ...]
  files: Mapping[str, tuple[Task, str]]
  others: Mapping[str, tuple[str, ...]]
  write: Callable[[str, dict[str, list[dict]], str | None], list[dict]]


def boards() -> dict[str, Board]:
  """{name: board}."""
  return {
    'glue': Board(
      submit.GLUE_TASKS,
      submit.glue_files(),
      {'mnli': ('ax',)},
      lambda path, records, _: submit.write_glue(path, records),
    ),
    'superglue': Board(
      submit_superglue.TASKS,
      submit_superglue.files(),
      {'superglue_rte': ('axb', 'axg')},
      _write_superglue,
    ),
  }


def records(
  board: Board,
  runs: Sequence[pathlib.Path],
  predictions: Sequence[str],
  opener: Opener,
  data_dir: str | None = None,
) -> dict[str, list[dict]]:
  """Records by file of a board's zip.

  Args:
    board: one of `boards`.
    runs: folders of single runs, one a task; see `folders`.
    predictions: 'FILE_IN_ZIP=PATH' of records that were written before.
    opener: opens a run.
    data_dir: of the diagnostic sets; None = that of the run that predicts
      them.

  Raises:
    ValueError: a run of another task, or two sources for one file.
  """
  found: dict[str, list[dict]] = {}

  def add(file, rows):
    if file in found:
      raise ValueError(f'two sources for {file}; give one run a task')
    found[file] = rows

  for item in predictions:
    file, equals, path = item.partition('=')
    if not equals:
      raise ValueError(f'--predictions={item}: expected FILE_IN_ZIP=PATH')
    add(file, files.read_lines(path))
  own = set()
  for workdir in runs:
    name = run_folder.read_config(workdir).task['name']
    if name not in board.tasks:
      raise ValueError(f'{workdir}: {name} is none of {board.tasks}')
    own.add(name)
    parts = _parts(board, name)
    run = opener(workdir, tuple(parts.values()))
    for file, split in parts.items():
      add(file, list(predict.predict_split(run, split).records()))
    for other in board.others.get(name, ()):
      for file, split in _parts(board, other).items():
        if file not in found and other not in own:
          found[file] = _of_other(run, other, split, data_dir)
  return found


def _parts(board: Board, name: str) -> dict[str, str]:
  """{file: split} of a task."""
  return {
    file: split
    for file, (task, split) in board.files.items()
    if task.name == name
  }


def _of_other(
  run: Any, name: str, split: str, data_dir: str | None
) -> list[dict]:
  """Records of another task with the same labels, by a run's model."""
  folder = data_dir or run.config.data.get('data_dir')
  task = by_name.get(name)
  return list(predict.predict_task(run, task, split, folder).records())


def write_zip(
  board: Board,
  output: str,
  found: dict[str, list[dict]],
  data_dir: str | None = None,
) -> str:
  """Writes the zip and its report.

  Args:
    board: one of `boards`.
    output: the zip; the report is `<output>.report.txt`.
    found: see `records`; other files are filled with a constant.
    data_dir: data folder, for what filling a file needs.

  Returns:
    The report.
  """
  rows = board.write(output, found, data_dir)
  text = tables.results_table(rows)
  filled = sum(row['prediction'] != 'from a run' for row in rows)
  if filled:
    text += (
      f'\n{filled} of {len(rows)} files hold a constant because the task was '
      'not run: the total score means nothing'
    )
  files.replace_text(f'{output}.report.txt', text + '\n')
  return text


def _write_superglue(path, found, data_dir) -> list[dict]:
  """Writes the zip; a file of MultiRC that is filled takes its test rows."""
  ids: list[str] = []
  folder = data_dir or os.environ.get(load.VARIABLE)
  if 'MultiRC.jsonl' not in found and folder:
    table = load.load(by_name.get('multirc'), 'test', folder)
    ids = [row['idx'] for row in table.rows]
  return submit_superglue.write(path, found, ids)


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
