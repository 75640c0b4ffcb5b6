"""Combinations of parts: all of them, few that cover all pairs, and a table.

A cell is one part of each axis of configs/suites/matrix.py. What makes no sense
together is refused by the parts themselves when they are built, with a reason;
the matrix hides or changes nothing.
"""

import itertools
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from glue_jax.config import config as config_lib
from glue_jax.export import bundle
from glue_jax.inference import open_run
from glue_jax.probes import step_memory
from glue_jax.reporting import files, run_record
from glue_jax.training import runs, schema

Cell = tuple[str, ...]


def choose(
  axes: Mapping[str, Iterable[str]], wanted: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
  """Returns the parts of each axis that are asked for, all where none is.

  Raises:
    ValueError: a part that its axis doesn't have.
  """
  chosen = {}
  for axis, parts in axes.items():
    parts = list(parts)
    unknown = sorted(set(wanted.get(axis, ())) - set(parts))
    if unknown:
      raise ValueError(f'{axis}: no parts {unknown}; there are {sorted(parts)}')
    chosen[axis] = list(wanted.get(axis) or parts)
  return chosen


def combinations(axes: Mapping[str, Sequence[str]]) -> list[Cell]:
  """Returns every cell, the last axis fastest."""
  return list(itertools.product(*axes.values()))


def covering(axes: Mapping[str, Sequence[str]]) -> list[Cell]:
  """Returns cells in which any two parts of two axes meet at least once.

  Greedy: each cell starts from the first pair that is still missing and takes,
  axis by axis, the part that adds most missing pairs (Cohen et al. 1997, AETG).
  """
  parts = [
    [(i, name) for name in names] for i, names in enumerate(axes.values())
  ]
  # A dict keeps the order, so that the result is always the same.
  missing = dict.fromkeys(
    pair
    for one, two in itertools.combinations(parts, 2)
    for pair in itertools.product(one, two)
  )
  cells = []
  while missing:
    cell = list(next(iter(missing)))
    for options in parts:
      if options[0][0] not in dict(cell):
        gains = [
          sum(tuple(sorted((part, other))) in missing for other in cell)
          for part in options
        ]
        cell.append(options[gains.index(max(gains))])
    cell.sort()
    for pair in itertools.combinations(cell, 2):
      missing.pop(pair, None)
    cells.append(tuple(name for _, name in cell))
  return cells


def run(
  config: Any, workdir: str | os.PathLike, labels: Mapping[str, str]
) -> dict[str, Any]:
  """Trains a cell, or reads it if it is finished; returns its row.

  Args:
    config: of the cell.
    workdir: of the cell; `row.json` in it is written last.
    labels: {axis: part}, the first columns of the row.

  Returns:
    The labels, and either 'refused' (the reason) or the primary metric,
    'parameters_trained', 'optimizer_bytes' and 'peak_bytes' of the first step
    (`step_memory.of_step`),
    'examples_per_s' and 'bundle_bytes', which is None where the backbone came
    from no files, or nothing of it stayed as it was: then there is nothing
    that a bundle could be for.
  """
  path = pathlib.Path(workdir) / 'row.json'
  if path.is_file():
    return json.loads(path.read_text())
  row: dict[str, Any] = dict(labels)
  try:
    config = config_lib.complete(config)
    schema.check(config)
    memory = step_memory.of_step(config)
    result = runs.run(config, workdir)
  except ValueError as error:
    row['refused'] = ' '.join(str(error).split())
  else:
    facts = run_record.read_json(path.parent / 'run.json')
    rates = files.read_lines(path.parent / 'timings.jsonl')
    row |= {
      result['primary']['metric']: result['primary']['value'],
      'parameters_trained': facts['parameters_trained'],
      'optimizer_bytes': memory['optimizer'],
      'peak_bytes': memory['peak'],
      'examples_per_s': round(rates[-1]['examples_per_s'], 1),
      'bundle_bytes': bundle_bytes(config, path.parent),
    }
  path.parent.mkdir(parents=True, exist_ok=True)
  files.replace_text(path, json.dumps(row, indent=2) + '\n')
  return row


def bundle_bytes(config: Any, workdir: pathlib.Path) -> int | None:
  """Writes the bundle of a finished cell; returns the size of its files."""
  if not config.model.get('weights'):
    return None
  folder = workdir / 'bundle'
  try:
    bundle.write(open_run.load_run(workdir), folder)
  except bundle.NothingShared:
    return None
  return sum(file.stat().st_size for file in folder.iterdir())
