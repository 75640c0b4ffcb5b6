"""Metrics and rows as tables that a person reads, and as CSV."""

import csv
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from glue_jax.reporting import files


def aggregate(
  results: Sequence[Mapping[str, float]],
) -> dict[str, dict[str, Any]]:
  """Mean, sample standard deviation and all points of the same metrics.

  Args:
    results: one {metric: value} a seed.

  Returns:
    {metric: {'mean', 'sd', 'values'}}; sd is None for one seed.

  Raises:
    ValueError: the seeds do not have the same metrics.
  """
  if not results:
    raise ValueError('no results to aggregate')
  for result in results[1:]:
    if result.keys() != results[0].keys():
      odd = sorted(result.keys() ^ results[0].keys())
      raise ValueError(f'seeds differ in their metrics: {odd}')
  table = {}
  for name in results[0]:
    values = [float(result[name]) for result in results]
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    table[name] = {'mean': float(np.mean(values)), 'sd': sd, 'values': values}
  return table


def results_table(
  rows: Sequence[Mapping[str, Any]], markdown: bool = False
) -> str:
  """Rows as an aligned table; columns are the keys in order of appearance.

  Args:
    rows: cells by column; floats are shown with 4 decimals, None and missing
      cells as '-'.
    markdown: with bars, for a README or a model card.
  """
  if not rows:
    raise ValueError('no rows to show')
  columns = list(dict.fromkeys(key for row in rows for key in row))
  cells = [[_cell(row.get(column)) for column in columns] for row in rows]
  numeric = [
    all(isinstance(row.get(c), (int, float, type(None))) for row in rows)
    for c in columns
  ]
  widths = [
    max(len(str(column)), *(len(line[i]) for line in cells))
    for i, column in enumerate(columns)
  ]

  def line(values):
    parts = [
      str(v).rjust(w) if right else str(v).ljust(w)
      for v, w, right in zip(values, widths, numeric)
    ]
    text = ' | '.join(parts) if markdown else '  '.join(parts)
    return f'| {text} |' if markdown else text.rstrip()

  if markdown:
    rule = [
      '-' * (w - 1) + (':' if right else '-')
      for w, right in zip(widths, numeric)
    ]
  else:
    rule = ['-' * w for w in widths]
  return '\n'.join([line(columns), line(rule), *map(line, cells)])


def rows_cell(counts: Sequence[Mapping[str, int]]) -> str | int | None:
  """Rows that scores are of: 30, or '30 of 40' where not all were taken.

  Args:
    counts: {'used', 'given'} of each split; they are added.
  """
  if not counts:
    return None
  used, given = (sum(c[key] for c in counts) for key in ('used', 'given'))
  return used if used == given else f'{used} of {given}'


def metrics_table(
  metrics: Mapping[str, Mapping[str, Any]],
  counts: Mapping[str, Mapping[str, int]] | None = None,
) -> str:
  """Results of one run, or of `aggregate` for each split, one row a metric.

  Args:
    metrics: {split: {metric: value, or mean, sd and values}}.
    counts: {split: rows used and given}; None = they aren't shown.
  """
  rows = []
  for split, values in metrics.items():
    for name, value in values.items():
      row: dict[str, Any] = {'split': split, 'metric': name}
      if isinstance(value, Mapping):
        points = ' '.join(_cell(v) for v in value['values'])
        row |= {'mean': value['mean'], 'sd': value['sd'], 'seeds': points}
      else:
        row['value'] = value
      if counts and split in counts:
        row['rows'] = rows_cell([counts[split]])
      rows.append(row)
  return results_table(rows)


def _cell(value: Any) -> str:
  if value is None:
    return '-'
  if isinstance(value, float):
    return f'{value:.4f}' if math.isfinite(value) else str(value)
  return str(value)


def table(rows: Sequence[Mapping]) -> str:
  """Returns rows as an aligned table, one column for each key but direction."""
  if not rows:
    return '(no cells)'
  return results_table(
    [{k: v for k, v in row.items() if k != 'direction'} for row in rows]
  )


def write_csv(rows: Sequence[Mapping], path: str | os.PathLike) -> None:
  """Writes rows to a CSV file with full precision, replaced in one move."""
  with files.whole(path) as part, part.open('w', newline='') as file:
    writer = csv.DictWriter(file, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
