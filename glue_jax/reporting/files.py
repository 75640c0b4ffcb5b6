"""Whole files: written at once or not at all, read line by line."""

import contextlib
import json
import math
import os
import pathlib
import stat
import uuid
from collections.abc import Iterator, Mapping
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
  file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
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


@contextlib.contextmanager
def whole(
  path: str | os.PathLike, sync: bool = False
) -> Iterator[pathlib.Path]:
  """Writes a file so that readers see the old one or the new, whole.

    with files.whole(path) as part:
      np.save(part, values)

  A block that raises leaves the old file, or none, and nothing beside it. Two
  writers at once have a name each; the file is that of the last to finish.

  Args:
    path: of the file; its folder is made.
    sync: wait until the content is on the disk before the file gets its name,
      for a file that says that others are whole.

  Yields:
    a path in the same folder, an empty file with the permissions of a new one
    (0666 less the umask): what is written there gets the name of `path` when
    the block ends.

  Raises:
    OSError: the file can't be written.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  part = path.with_name(f'.{path.name}.{uuid.uuid4().hex[:12]}.part')
  part.touch(exist_ok=False)
  mode = stat.S_IMODE(part.stat().st_mode)
  try:
    yield part
    # A library may have put a private file of its own there (safetensors).
    part.chmod(mode)
    if sync:
      with part.open('rb') as file:
        os.fsync(file.fileno())
    os.replace(part, path)
  finally:
    part.unlink(missing_ok=True)


def replace_text(path: str | os.PathLike, text: str) -> None:
  """Writes a text file whole, in UTF-8; see `whole`."""
  with whole(path) as part:
    part.write_text(text, encoding='utf-8')


def is_first_process() -> bool:
  """Whether this process is the one that writes files and draws bars."""
  import jax

  return jax.process_index() == 0
