"""Whole files: written at once or not at all, read line by line."""

import contextlib
import errno
import json
import math
import os
import pathlib
import re
import shutil
import stat
import tempfile
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
          errno.ENOSPC,
          f'wrote {written} of {len(line)} bytes; is the disk full?',
          str(path),
        )
    except OSError as error:
      os.ftruncate(file, size)
      _name_path(error, path)
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

  A block that raises leaves the old file, or none, and nothing it made. Two
  writers at once have a name each; the file is that of the last to finish.

  Only regular files are replaced: of a link the file that it leads to. A
  device, a pipe or an open descriptor (/dev/stdout) is opened and written.

  Args:
    path: of the file; its folder is made.
    sync: wait until the content is on the disk before the file gets its name,
      for a file that says that others are whole.

  Yields:
    a path, in the same folder unless no file is replaced: an empty file with
    the permissions of the old one, or of a new one (0666 less the umask). What
    is written there gets the name of `path` when the block ends.

  Raises:
    OSError: the file can't be written; has its path.
  """
  target = _regular(pathlib.Path(path))
  try:
    if target is None:
      with tempfile.TemporaryDirectory() as folder:
        part = pathlib.Path(folder) / 'part'
        part.touch()
        yield part
        _write_through(part, path)
      return
    made = _make(target.parent)
    part = target.with_name(f'.{target.name}.{uuid.uuid4().hex[:12]}.part')
    part.touch(exist_ok=False)
    known = target if target.is_file() else part
    mode = stat.S_IMODE(known.stat().st_mode)
    try:
      yield part
      # A library may have put a private file of its own there (safetensors).
      part.chmod(mode)
      if sync:
        with part.open('rb') as file:
          os.fsync(file.fileno())
      os.replace(part, target)
    finally:
      part.unlink(missing_ok=True)
      _remove_empty(made)
  except Exception as error:
    _name_path(error, path)
    raise


@contextlib.contextmanager
def whole_folder(path: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Writes a folder so that its name never stands for half of it.

  A block that raises leaves nothing. In a folder that is there already the new
  files replace those of the same name, in the order they were written.

  Args:
    path: of the folder; those above it are made.

  Yields:
    an empty folder beside it.

  Raises:
    OSError: it can't be written, or is a file.
  """
  target = pathlib.Path(os.path.realpath(path))
  if target.exists() and not target.is_dir():
    raise NotADirectoryError(
      errno.ENOTDIR, 'is a file; expected a folder, or a new name', str(path)
    )
  made = _make(target.parent)
  part = target.with_name(f'.{target.name}.{uuid.uuid4().hex[:12]}.part')
  part.mkdir()
  try:
    yield part
    if not target.exists():
      os.replace(part, target)
      return
    made = [file for file in part.rglob('*') if file.is_file()]
    for file in sorted(made, key=lambda file: file.stat().st_mtime_ns):
      place = target / file.relative_to(part)
      place.parent.mkdir(parents=True, exist_ok=True)
      os.replace(file, place)
  except OSError as error:  # by the name that was asked for
    error.filename = str(error.filename or path).replace(str(part), str(path))
    raise
  except Exception as error:
    _name_path(error, path)
    raise
  finally:
    shutil.rmtree(part, ignore_errors=True)
    _remove_empty(made)


def _make(folder: pathlib.Path) -> list[pathlib.Path]:
  """Makes a folder; returns those that were missing, the deepest first."""
  missing = [f for f in (folder, *folder.parents) if not f.exists()]
  folder.mkdir(parents=True, exist_ok=True)
  return missing


def _remove_empty(folders: list[pathlib.Path]) -> None:
  """Removes what nothing was written into after all."""
  with contextlib.suppress(OSError):
    for folder in folders:
      folder.rmdir()


def _regular(path: pathlib.Path) -> pathlib.Path | None:
  """The file that a path leads to and that may be replaced; None for none."""
  step = os.path.abspath(path)
  for _ in range(40):  # as many links as the kernel follows
    if re.fullmatch(r'/dev/(std(in|out|err)|fd/\d+)|/proc/\w+/fd/\d+', step):
      return None
    if not os.path.islink(step):
      break
    link = os.path.join(os.path.dirname(step), os.readlink(step))
    step = os.path.abspath(link)
  target = pathlib.Path(os.path.realpath(path))
  kept = not target.exists() or target.is_file() or target.is_dir()
  return target if kept else None


def _write_through(part: pathlib.Path, path: str | os.PathLike) -> None:
  """Copies a file into what is no file."""
  number = os.open(path, os.O_WRONLY | os.O_APPEND)
  with part.open('rb') as source, os.fdopen(number, 'wb') as out:
    shutil.copyfileobj(source, out)


def _name_path(error: Exception, path: str | os.PathLike) -> None:
  """Gives an error of the system the path that it lacks.

  Raises:
    OSError: the same from a library that has its own kind (safetensors).
  """
  if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
    if error.filename is None or str(error.filename).endswith('part'):
      error.filename, error.filename2 = str(path), None
    return
  found = re.search(r'\(os error (\d+)\)', str(error))
  if found:
    number = int(found.group(1))
    raise OSError(number, os.strerror(number), str(path)) from error


def replace_text(path: str | os.PathLike, text: str) -> None:
  """Writes a text file whole, in UTF-8; see `whole`."""
  with whole(path) as part:
    part.write_text(text, encoding='utf-8')


def is_first_process() -> bool:
  """Whether this process is the one that writes files and draws bars."""
  import jax

  return jax.process_index() == 0
