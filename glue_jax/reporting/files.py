"""Whole files: written at once or not at all, read line by line."""

import json
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from absl import logging


def append_line(path: str | os.PathLike, record: Mapping[str, Any]) -> None:
  """Appends a JSON line, whole or not at all.

  Raises:
    OSError: the line could not be written; the file is as it was before.
  """
  finite = {
    key: None
    if isinstance(value, float) and not math.isfinite(value)
    else value
    for key, value in record.items()
  }
  line = (json.dumps(finite, allow_nan=False) + '\n').encode()
  file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
  try:
    size = os.fstat(file).st_size
    try:
      written = os.write(file, line)
      if written < len(line):
        raise OSError(
          f'{path}: wrote {written} of {len(line)} bytes; is the disk full?'
        )
    except OSError:
      os.ftruncate(file, size)
      raise
  finally:
    os.close(file)


def read_lines(path: str | os.PathLike) -> list[dict]:
  """The records of a JSON lines file; an unfinished last line is left out.

  Raises:
    ValueError: another line is not a JSON object.
  """
  path = pathlib.Path(path)
  lines = path.read_bytes().split(b'\n')
  if lines.pop():
    logging.warning('%s: dropping the unfinished last line', path)
  records = []
  for number, line in enumerate(lines, 1):
    try:
      record = json.loads(line)
    except ValueError as e:
      raise ValueError(f'{path}:{number}: not JSON: {line[:80]!r}') from e
    if not isinstance(record, dict):
      raise ValueError(
        f'{path}:{number}: expected an object, got {line[:80]!r}'
      )
    records.append(record)
  return records


def replace_text(path: str | os.PathLike, text: str) -> None:
  """Writes a file so that readers see the old text or the new, whole."""
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  part = path.with_name(f'.{path.name}.{os.getpid()}.part')
  try:
    part.write_text(text, encoding='utf-8')
    os.replace(part, path)
  finally:
    part.unlink(missing_ok=True)


def is_first_process() -> bool:
  """Whether this process is the one that writes files and draws bars."""
  import jax

  return jax.process_index() == 0
