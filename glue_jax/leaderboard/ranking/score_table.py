"""Reads tables of scores: systems by tasks, with or without single instances.

CSV or TSV in two forms, both with a header:
  wide: `system,task1,task2,...`, one row a system;
  long: `system,task,instance,score`, one row a score.
JSON: {"system": {"task": number or [number, ...]}}, a list holding instances.
An empty cell, `-`, `NA`, `N/A`, `nan` and null are missing scores.
"""

import csv
import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from absl import logging

from glue_jax.data.readers import json_text

MISSING = frozenset({'', '-', 'na', 'n/a', 'nan', 'none', 'null'})
LONG = ('system', 'task', 'instance', 'score')
# Names under which leaderboards show a summary of the other columns.
AGGREGATES = frozenset(
  ('average', 'avg', 'mean', 'overall', 'rank', 'score', 'total')
)


@dataclasses.dataclass(frozen=True)
class ScoreTable:
  """Scores, higher is better (columns where lower is better are negated).

  Attributes:
    systems: names.
    tasks: names.
    scores: for each task (systems, instances); NaN where missing. One instance
      each in a table of scores by task.
  """

  systems: tuple[str, ...]
  tasks: tuple[str, ...]
  scores: tuple[np.ndarray, ...]

  @property
  def by_instance(self) -> bool:
    """Whether any task has scores of single instances."""
    return any(task.shape[1] > 1 for task in self.scores)

  def incomplete(self) -> np.ndarray:
    """Which systems lack a score, (systems,) bool."""
    return np.any([np.isnan(t).any(axis=1) for t in self.scores], axis=0)


def read(
  path: str | os.PathLike,
  columns: Sequence[str] = (),
  exclude: Sequence[str] = (),
  lower: Sequence[str] = (),
) -> ScoreTable:
  """Reads a file and chooses the tasks that vote.

  A column that summarises the others is no vote of its own: it is left out with
  a warning, unless `columns` names it.

  Args:
    path: .csv, .tsv or .json.
    columns: tasks to keep, all if empty.
    exclude: tasks to leave out.
    lower: tasks where lower is better.

  Raises:
    FileNotFoundError: no such file.
    ValueError: names file and line of what can't be read; fewer than two
      systems; an unknown column; nothing left.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f'{path}: no such file of scores')
  try:
    text = path.read_bytes().decode('utf-8-sig')
  except UnicodeDecodeError as error:
    line = path.read_bytes()[: error.start].count(b'\n') + 1
    raise ValueError(f'{path}:{line}: not UTF-8: {error.reason}') from None
  reader = _read_json if path.suffix == '.json' else _read_rows
  table = reader(path, text)
  if len(table.systems) < 2:
    raise ValueError(
      f'{path}: {len(table.systems)} system; a ranking needs at least two'
    )
  return _choose(path, table, columns, exclude, lower)


def _read_rows(path: pathlib.Path, text: str) -> ScoreTable:
  delimiter = '\t' if path.suffix == '.tsv' else ','
  reader = csv.reader(text.splitlines(), delimiter=delimiter)
  rows = [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
  if not rows:
    raise ValueError(f'{path}: empty; expected a header and a row a system')
  names = [name.strip() for name in rows[0][1]]
  repeated = sorted({name for name in names if names.count(name) > 1})
  if repeated:
    raise ValueError(f'{path}:1: columns {repeated} occur more than once')
  for line, row in rows[1:]:
    if len(row) != len(names):
      # A reader that shifts the fields would rank on the wrong columns.
      raise ValueError(
        f'{path}:{line}: {len(row)} fields, but the header has {len(names)}'
      )
  if tuple(name.lower() for name in names) == LONG:
    return _read_long(path, rows[1:])
  if len(names) < 2:
    raise ValueError(f'{path}:1: no column of scores beside {names}')
  systems, values, lines = [], [], {}
  for line, row in rows[1:]:
    name = row[0].strip()
    if name in lines:
      raise ValueError(
        f'{path}:{line}: system {name!r} is already in line {lines[name]}'
      )
    lines[name] = line
    systems.append(name)
    values.append(
      [_number(cell, path, line, c) for cell, c in zip(row[1:], names[1:])]
    )
  scores = np.array(values, np.float64).reshape(len(systems), -1)
  return ScoreTable(
    tuple(systems),
    tuple(names[1:]),
    tuple(column[:, None] for column in scores.T),
  )


def _read_long(path: pathlib.Path, rows: list) -> ScoreTable:
  tasks: dict[str, dict[tuple[str, str], tuple[int, float]]] = {}
  systems: dict[str, int] = {}
  for line, row in rows:
    system, task, instance, score = (cell.strip() for cell in row)
    systems.setdefault(system, len(systems))
    cells = tasks.setdefault(task, {})
    if (system, instance) in cells:
      raise ValueError(
        f'{path}:{line}: system {system!r}, task {task!r}, instance '
        f'{instance!r} is already in line {cells[system, instance][0]}'
      )
    cells[system, instance] = line, _number(score, path, line, 'score')
  scores = []
  for cells in tasks.values():
    index = {
      name: i for i, name in enumerate(dict.fromkeys(i for _, i in cells))
    }
    task_scores = np.full((len(systems), len(index)), np.nan)
    for (system, instance), (_, value) in cells.items():
      task_scores[systems[system], index[instance]] = value
    scores.append(task_scores)
  return ScoreTable(tuple(systems), tuple(tasks), tuple(scores))


def _read_json(path: pathlib.Path, text: str) -> ScoreTable:
  expected = 'expected {"system": {"task": number or [numbers]}}'
  try:
    data = json_text.loads(text)
  except json.JSONDecodeError as error:
    raise ValueError(
      f'{path}:{error.lineno}: {error.msg}; {expected}'
    ) from None
  if not isinstance(data, dict) or not all(
    isinstance(row, dict) for row in data.values()
  ):
    raise ValueError(f'{path}: {expected}')
  scores = []
  tasks = tuple(dict.fromkeys(task for row in data.values() for task in row))
  for task in tasks:
    lists = {
      system: np.ravel(row[task]) for system, row in data.items() if task in row
    }
    for system, values in lists.items():
      if not all(
        v is None or (isinstance(v, int | float) and not isinstance(v, bool))
        for v in values.tolist()
      ):
        raise ValueError(
          f'{path}: system {system!r}, task {task!r}: {_short(values)}; '
          f'{expected}'
        )
    sizes = {len(values) for values in lists.values()}
    if len(sizes) != 1:
      raise ValueError(
        f'{path}: task {task!r} has {sorted(sizes)} instances for different '
        'systems; all need the same ones (null where a score is missing)'
      )
    block = np.full((len(data), sizes.pop()), np.nan)
    for i, system in enumerate(data):
      if system in lists:
        block[i] = lists[system].astype(np.float64)
    scores.append(block)
  return ScoreTable(tuple(data), tasks, tuple(scores))


def _short(values: np.ndarray) -> str:
  text = str(values.tolist())
  return text if len(text) < 60 else f'{text[:57]}...'


def _number(cell: str, path: pathlib.Path, line: int, column: str) -> float:
  if cell.strip().lower() in MISSING:
    return float('nan')
  try:
    value = float(cell)
  except ValueError:
    value = float('inf')
  if np.isinf(value):
    raise ValueError(
      f'{path}:{line}: column {column!r} holds {cell!r}; expected a finite '
      'number, or nothing where the score is missing'
    )
  return value


def _choose(
  path: pathlib.Path,
  table: ScoreTable,
  columns: Sequence[str],
  exclude: Sequence[str],
  lower: Sequence[str],
) -> ScoreTable:
  unknown = sorted({*columns, *exclude, *lower} - set(table.tasks))
  if unknown:
    raise ValueError(
      f'{path}: no columns {unknown}; it has {list(table.tasks)}'
    )
  kept = [name for name in (columns or table.tasks) if name not in set(exclude)]
  summaries = aggregates(table, kept)
  for name, reason in summaries.items():
    if columns:
      logging.warning('%s: column %r %s, and votes', path, name, reason)
    else:
      logging.warning(
        '%s: column %r %s: left out (--columns names those that vote)',
        path,
        name,
        reason,
      )
  if not columns:
    kept = [name for name in kept if name not in summaries]
  if not kept:
    raise ValueError(f'{path}: no column of scores is left')
  index = {name: i for i, name in enumerate(table.tasks)}
  scores = tuple(
    (-1.0 if name in lower else 1.0) * table.scores[index[name]]
    for name in kept
  )
  silent = [
    system
    for i, system in enumerate(table.systems)
    if all(np.isnan(task[i]).all() for task in scores)
  ]
  if silent:
    raise ValueError(
      f'{path}: systems {silent} have no score in {kept}; remove their rows'
    )
  return ScoreTable(table.systems, tuple(kept), scores)


def aggregates(table: ScoreTable, names: Sequence[str]) -> dict[str, str]:
  """Finds columns that summarise the others: {name: why}.

  By name (average, score, ...), or because each of its values is the mean of
  the row's other values, to a unit of the last place shown by leaderboards.
  """
  index = {name: i for i, name in enumerate(table.tasks)}
  reasons = {}
  for name in names:
    others = [n for n in names if n != name]
    if name.strip().lower() in AGGREGATES:
      reasons[name] = 'is named like an average of the others'
    elif len(others) > 1 and not table.by_instance:
      values = table.scores[index[name]][:, 0]
      rest = np.stack([table.scores[index[n]][:, 0] for n in others])
      if np.ptp(rest) and np.allclose(
        values, rest.mean(0), rtol=1e-3, atol=0.0
      ):
        reasons[name] = 'is the mean of the others'
  return reasons
