"""Sweeps: which cells there are, which are finished, and how they rank.

A cell is a set of values for config fields, in the form that is typed on the
command line; its folder is named after them, so the same cell of a larger
sweep finds what is finished. Random search draws every field independently
(Bergstra and Bengio, "Random Search for Hyper-Parameter Optimization", 2012).
"""

import ast
import dataclasses
import hashlib
import itertools
import json
import math
import os
import pathlib
import random
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence

from glue_jax.training import lock

_BRACKETS = {'(': ')', '[': ']', '{': '}'}
DISTRIBUTIONS = ('uniform', 'log', 'int', 'choice')


@dataclasses.dataclass(frozen=True)
class Cell:
  """One run of a sweep.

  Attributes:
    index: place in the sweep's order, from 0; the id in a cluster's array.
    overrides: ((config field, value as typed on the command line), ...).
    name: folder below the sweep's workdir.
  """

  index: int
  overrides: tuple[tuple[str, str], ...]
  name: str


def split_values(text: str) -> list[str]:
  """Splits at commas outside brackets and quotes: '(0,1),2' -> '(0,1)', '2'.

  Raises:
    ValueError: a bracket or quote isn't closed, or a value is empty.
  """
  values, start, open_ = [], 0, []
  for place, char in enumerate(text):
    if open_ and char == open_[-1]:
      open_.pop()
    elif open_ and open_[-1] in '\'"':
      continue
    elif char in _BRACKETS:
      open_.append(_BRACKETS[char])
    elif char in '\'"':
      open_.append(char)
    elif char == ',' and not open_:
      values.append(text[start:place].strip())
      start = place + 1
  values.append(text[start:].strip())
  if open_:
    raise ValueError(f'{text!r}: {open_[-1]!r} is missing')
  if '' in values:
    raise ValueError(f'{text!r}: an empty value; write v1,v2,...')
  return values


def parse_field(text: str) -> tuple[str, str]:
  """Splits 'field=values'; a leading 'config.' of the field is dropped.

  Raises:
    ValueError: there is no field or nothing after '='.
  """
  field, _, values = text.partition('=')
  field = field.strip().removeprefix('config.')
  if not field or not values.strip():
    raise ValueError(f'{text!r}: expected field=values, e.g. optimizer.lr=1e-5')
  return field, values.strip()


def parse_grid(texts: Iterable[str]) -> dict[str, list[str]]:
  """Reads grid axes: 'optimizer.lr=1e-5,3e-5' -> {field: [value, ...]}.

  Raises:
    ValueError: malformed, or a field or value given twice.
  """
  grid = {}
  for text in texts:
    field, values = parse_field(text)
    if field in grid:
      raise ValueError(f'{text!r}: {field} is already an axis of the grid')
    grid[field] = split_values(values)
    if len(set(grid[field])) < len(grid[field]):
      raise ValueError(f'{text!r}: a value is given twice')
  return grid


def parse_random(texts: Iterable[str]) -> dict[str, tuple[str, tuple]]:
  """Reads distributions: {field: (kind, arguments)}.

  Forms: 'field=uniform:low:high', 'field=log:low:high' (uniform in the
  logarithm), 'field=int:low:high' (both ends included), 'field=choice:a,b,c'.

  Raises:
    ValueError: malformed, low above high, log of no positive number, or a
      field given twice.
  """
  fields = {}
  for text in texts:
    field, spec = parse_field(text)
    if field in fields:
      raise ValueError(f'{text!r}: {field} already has a distribution')
    kind, _, rest = spec.partition(':')
    if kind not in DISTRIBUTIONS:
      raise ValueError(
        f'{text!r}: unknown distribution {kind!r}; known are {DISTRIBUTIONS}'
      )
    if kind == 'choice':
      fields[field] = kind, tuple(split_values(rest))
    else:
      fields[field] = kind, _bounds(text, kind, rest)
  return fields


def _bounds(text: str, kind: str, rest: str) -> tuple:
  """Reads 'low:high' of a distribution."""
  try:
    low, high = map(int if kind == 'int' else float, rest.split(':'))
  except ValueError:
    raise ValueError(f'{text!r}: expected field={kind}:low:high') from None
  if low > high or (kind == 'log' and low <= 0):
    raise ValueError(
      f'{text!r}: low must not be above high'
      + (', and above 0' if kind == 'log' else '')
    )
  return low, high


def draw(
  fields: Mapping[str, tuple[str, tuple]], trials: int, seed: int
) -> list[dict[str, str]]:
  """Draws `trials` points; trial t of a field depends on nothing but them.

  Adding trials or fields therefore keeps the points that are already run.
  """
  points = []
  for trial in range(trials):
    point = {}
    for field, (kind, args) in fields.items():
      rng = random.Random(f'{seed}/{trial}/{field}')
      if kind == 'choice':
        point[field] = rng.choice(args)
      elif kind == 'int':
        point[field] = str(rng.randint(*args))
      elif kind == 'log':
        low, high = map(math.log, args)
        point[field] = f'{math.exp(rng.uniform(low, high)):.4g}'
      else:
        point[field] = f'{rng.uniform(*args):.4g}'
    points.append(point)
  return points


def cells(
  base: str,
  grid: Mapping[str, Sequence[str]],
  points: Sequence[Mapping[str, str]] = (),
  seeds: Sequence[int] = (),
) -> list[Cell]:
  """Returns all cells: the grid, times the random points, times the seeds.

  Args:
    base: what all cells share (config file and fixed overrides); part of the
      folder's name, as a hash.
    grid: {field: values}.
    points: random points, see `draw`; none: the grid alone.
    seeds: one cell for each; none: the config's own seeds, in one run.

  Raises:
    ValueError: a field is in two of grid, points and seeds.
  """
  axes = [[(field, value) for value in grid[field]] for field in grid]
  seed_axis = [[('seeds', f'({seed},)')] for seed in seeds]
  all_cells, names = [], set()
  for chosen in itertools.product(*axes):
    for point in points or [{}]:
      for seed in seed_axis or [[]]:
        overrides = (*chosen, *point.items(), *seed)
        fields = [field for field, _ in overrides]
        twice = sorted({f for f in fields if fields.count(f) > 1})
        if twice:
          raise ValueError(f'{twice} given twice; give a field in one place')
        name = folder_name(base, overrides)
        if name not in names:  # two draws of one value
          names.add(name)
          all_cells.append(Cell(len(all_cells), overrides, name))
  return all_cells


def folder_name(base: str, overrides: Sequence[tuple[str, str]]) -> str:
  """Returns a readable folder name that no other cell has."""
  text = ','.join(f'{field.split(".")[-1]}={v}' for field, v in overrides)
  text = re.sub(r'[^A-Za-z0-9_.=,+-]+', '_', text).strip('_')[:80] or 'base'
  key = json.dumps([base, sorted(overrides)])
  return f'{text}-{hashlib.sha256(key.encode()).hexdigest()[:8]}'


def read_cell(cell: Cell, workdir: str | os.PathLike) -> dict:
  """Returns a row of the table: state, fields, primary metric, folder.

  `state` is 'done', 'running' (by a process that holds its lock), 'unfinished'
  (started, but not finished) or 'open'.
  `value` is None unless the cell is done and its task has a metric.
  """
  folder = pathlib.Path(workdir) / cell.name
  row = {'cell': cell.index, 'state': 'open', **dict(cell.overrides)}
  row |= {'metric': '', 'value': None, 'direction': 'max', 'folder': cell.name}
  if is_done(folder):
    row['state'] = 'done'
    primary = json.loads((folder / 'result.json').read_text())['primary']
    if primary:
      row |= {
        'metric': f'{"+".join(primary["splits"])}/{primary["metric"]}',
        'value': primary['value'],
        'direction': primary['direction'],
      }
  elif folder.exists():
    row['state'] = 'running' if lock.holder(folder) else 'unfinished'
  return row


def is_done(folder: pathlib.Path) -> bool:
  """Whether a run is finished, whatever its seeds and stages."""
  return (folder / 'done.json').is_file()


def check_free(folder: pathlib.Path) -> None:
  """Refuses a run that a process left by an earlier start is still at.

  Raises:
    ValueError: names that process.
  """
  process = lock.holder(folder)
  if process:
    raise ValueError(
      f'{folder} is in use by {process}; wait for it to end and start the same '
      'command again'
    )


def rank(rows: Iterable[Mapping]) -> list[dict]:
  """Sorts rows by the primary metric, best first; without a value last."""

  def key(row):
    value = row['value']
    if value is None or math.isnan(value):
      return (1, 0.0)
    return (0, value if row['direction'] == 'min' else -value)

  return [dict(row) for row in sorted(rows, key=key)]


def over_seeds(rows: Iterable[Mapping]) -> list[dict]:
  """Joins finished rows that differ in `seeds` only: mean, sd and count.

  The standard deviation is the sample's (n - 1); None for one seed.
  """
  own = {'cell', 'state', 'seeds', 'value', 'folder'}
  groups = {}
  for row in rows:
    if row['value'] is not None:
      shared = {k: v for k, v in row.items() if k not in own}
      groups.setdefault(json.dumps(shared), (shared, []))[1].append(row)
  joined = []
  for shared, members in groups.values():
    values = [row['value'] for row in members]
    sd = statistics.stdev(values) if len(values) > 1 else None
    joined.append(
      shared | {'value': statistics.mean(values), 'sd': sd, 'n': len(values)}
    )
  return rank(joined)


def seed_list(texts: Iterable[str]) -> list[int]:
  """Reads '0,1,2' as distinct integers.

  Raises:
    ValueError: no integer, or one given twice.
  """
  seeds = []
  for text in texts:
    try:
      seeds.append(int(ast.literal_eval(text)))
    except (ValueError, SyntaxError, TypeError):
      raise ValueError(f'--seeds: {text!r} is no integer') from None
  if len(set(seeds)) < len(seeds):
    raise ValueError(f'--seeds: {seeds} holds one twice')
  return seeds
