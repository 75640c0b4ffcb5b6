"""Plain text files: which there are, their lines, their hash."""

import hashlib
import os
import pathlib
from collections.abc import Iterator, Sequence

from glue_jax.data.readers.files import Log, lines_or_blank, read_bytes

NO_LIMIT = 1 << 30  # tokens: more than any line has


def find(paths: Sequence[str | os.PathLike]) -> list[pathlib.Path]:
  """The text files among files and folders (searched to the bottom).

  Raises:
    FileNotFoundError: a path does not exist, or a folder has no text file.
  """
  files = []
  for path in map(pathlib.Path, paths):
    if path.is_file():
      files.append(path)
      continue
    inside = [*path.rglob('*.txt'), *path.rglob('*.txt.gz')]
    if not inside:
      raise FileNotFoundError(
        f'{path}: expected a text file or a folder with .txt or .txt.gz files'
      )
    files += sorted(inside)
  return files


def read_lines(files: Sequence[pathlib.Path]) -> Iterator[str]:
  """Lines of the files, blank ones left out.

  Raises:
    ValueError: NUL or invalid UTF-8, with file and line; an empty file.
  """
  for path in files:
    log = Log(path)
    for _, text in lines_or_blank(path, log):
      if text:
        yield text


def digest(files: Sequence[pathlib.Path]) -> str:
  """Hash of the files' contents, in hex digits."""
  sha = hashlib.sha256()
  for path in files:
    sha.update(read_bytes(path) + b'\0')
  return sha.hexdigest()
