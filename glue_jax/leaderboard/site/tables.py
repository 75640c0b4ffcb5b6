"""Tables of the site: one record is the HTML, the CSV and the JSON."""

import csv
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from glue_jax.leaderboard import safety


@dataclasses.dataclass(frozen=True)
class Column:
  """A column.

  Attributes:
    key: name in CSV and JSON.
    label: heading.
    title: what it means, shown at the heading; '' for nothing.
    numeric: right-aligned, and sorted by value.
    descending: the first click puts the largest value on top.
    extra: further columns of CSV and JSON, filled from `Cell.extra`.
  """

  key: str
  label: str
  title: str = ''
  numeric: bool = False
  descending: bool = False
  extra: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Cell:
  """A cell.

  Attributes:
    text: what is shown.
    value: what is sorted and exported; None for a missing one.
    note: shown small beside the text ('± 0.4').
    href: relative address that the text links to.
    extra: values of the column's further columns.
    best: the best value of its column.
  """

  text: str
  value: Any = None
  note: str = ''
  href: str = ''
  extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  best: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
  """A table; the first column names the row.

  Attributes:
    name: id in the page, and name of its CSV and JSON files.
    caption: what it shows and how it is sorted.
    columns: C columns.
    rows: lists of C cells.
    filters: for each row {filter: value}, for the drop-down lists.
    sorted_by: key of the column that the rows are sorted by; '' for none.
  """

  name: str
  caption: str
  columns: Sequence[Column]
  rows: Sequence[Sequence[Cell]]
  filters: Sequence[Mapping[str, str]] = ()
  sorted_by: str = ''

  def choices(self) -> dict[str, list[str]]:
    """Values of each drop-down list that has more than one."""
    values: dict[str, set[str]] = {}
    for row in self.filters:
      for name, value in row.items():
        values.setdefault(name, set()).add(value)
    return {name: sorted(v) for name, v in values.items() if len(v) > 1}

  def records(self) -> list[dict[str, Any]]:
    """Rows as {column: value} with full precision."""
    rows = []
    for row in self.rows:
      record = {}
      for column, cell in zip(self.columns, row):
        record[column.key] = cell.text if cell.value is None else cell.value
        if cell.value is None and column.numeric:
          record[column.key] = None
        for name in column.extra:
          record[f'{column.key}_{name}'] = cell.extra.get(name)
      rows.append(record)
    return rows

  def csv(self) -> str:
    """CSV that no spreadsheet runs as formulas."""
    file = io.StringIO()
    keys = [
      key
      for c in self.columns
      for key in (c.key, *(f'{c.key}_{name}' for name in c.extra))
    ]
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(map(safety.spreadsheet_cell, keys))
    for record in self.records():
      cells = ['' if record[key] is None else record[key] for key in keys]
      writer.writerow(map(safety.spreadsheet_cell, cells))
    return file.getvalue()

  def json(self) -> str:
    """JSON that is inert wherever it is pasted."""
    return inert_json(self.records())


def inert_json(value: Any) -> str:
  """JSON text without the characters that mean something to HTML."""
  text = json.dumps(value, indent=1, sort_keys=False, allow_nan=False) + '\n'
  for character in '<>&':
    text = text.replace(character, f'\\u{ord(character):04x}')
  return text


def number(value: float | None) -> str:
  """A count for people: 22713986 -> '22.7M'."""
  if value is None:
    return '–'
  for unit, size in (('T', 1e12), ('G', 1e9), ('M', 1e6), ('k', 1e3)):
    if value >= size:
      return f'{value / size:.3g}{unit}'
  return f'{value:g}'


def seconds(value: float | None) -> str:
  """A duration for people: 557 -> '9 min 17 s'."""
  if value is None:
    return '–'
  if value < 60:
    return f'{value:.3g} s'
  whole = round(value)
  if whole < 3600:
    return f'{whole // 60} min {whole % 60} s'
  return f'{whole // 3600} h {whole % 3600 // 60} min'


def size(value: float | None) -> str:
  """Bytes for people: 3693428736 -> '3.69 GB'."""
  if value is None:
    return '–'
  for unit, scale in (('TB', 1e12), ('GB', 1e9), ('MB', 1e6), ('kB', 1e3)):
    if value >= scale:
      return f'{value / scale:.3g} {unit}'
  return f'{value:g} B'
