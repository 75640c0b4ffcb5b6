"""Rows of a benchmark: printed as they come, kept in a file.

A file ending in .csv has a line for each row, any other one is a JSON list.
"""

import json
import os
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

from absl import flags

from glue_jax.reporting import files, tables

FLAGS = flags.FLAGS
Row = dict[str, Any]


def define_file(
  text: str = 'File for the rows (JSON; CSV by its name).',
) -> None:
  """Defines --json, the file of `collect`."""
  flags.DEFINE_string('json', None, text)


def line(row: Row) -> str:
  """A row as 'key=value ...'."""
  return ' '.join(f'{key}={value}' for key, value in row.items())


def collect(
  rows: Iterable[Row],
  path: str | os.PathLike | None = None,
  show: Callable[[Row], str] = line,
) -> list[Row]:
  """Prints each row as it comes, and writes what there is after each.

  Args:
    rows: of a measurement, one after another.
    path: file to write; None for none.
    show: row -> what is printed.

  Returns:
    All rows.
  """
  kept = []
  for row in rows:
    kept.append(row)
    print(show(row), flush=True)
    write(kept, path)
  return kept


def write(rows: list[Row], path: str | os.PathLike | None) -> None:
  """Writes rows to a file; nothing where `path` is None."""
  if path is None:
    return
  path = pathlib.Path(path)
  if path.suffix == '.csv':
    tables.write_csv(rows, path)
  else:
    files.replace_text(path, json.dumps(rows, indent=2) + '\n')


def read(path: str | os.PathLike | None) -> list[Row]:
  """The rows of a JSON file, [] where there is none yet."""
  if path is None or not pathlib.Path(path).is_file():
    return []
  return json.loads(pathlib.Path(path).read_text())
