"""Files on any of Apache Beam's file systems (gs://, s3://, hdfs://, local)."""

import contextlib
import uuid
from collections.abc import Sequence
from typing import Any

from glue_jax.data.selection import corpus_files


def import_beam() -> Any:
  """Returns the package.

  Raises:
    ImportError: it isn't installed.
  """
  try:
    import apache_beam
  except ImportError as error:
    raise ImportError(
      f"Apache Beam is missing ({error}); pip install 'glue_jax[beam]'"
    ) from error
  return apache_beam


def filesystems() -> Any:
  """Beam's FileSystems, and its name for 'not compressed'."""
  import_beam()
  from apache_beam.io import filesystem, filesystems

  return filesystems.FileSystems, filesystem.CompressionTypes.UNCOMPRESSED


def open_file(path: str) -> Any:
  """Opens a file of any of Beam's file systems for reading bytes."""
  systems, plain = filesystems()
  return systems.open(path, compression_type=plain)


def find(patterns: Sequence[str]) -> list[corpus_files.CorpusFile]:
  """Files of a corpus on any of Beam's file systems; see `corpus_files.find`.

  A folder stands for the files in it with the usual endings.

  Raises:
    FileNotFoundError: nothing is there.
    ValueError: a file is given twice.
  """
  systems, _ = filesystems()
  sources = []
  for pattern in patterns:
    endings = [f'{pattern.rstrip("/")}/**{s}' for s in corpus_files.SUFFIXES]
    matched = _matches(systems, [pattern]) or _matches(systems, endings)
    if not matched:
      raise corpus_files.not_found(pattern)
    sources += sorted(set(matched))
  corpus_files.check_once([source.path for source in sources])
  return sources


def _matches(systems, globs: list[str]) -> list[corpus_files.CorpusFile]:
  return [
    corpus_files.CorpusFile(m.path, m.size_in_bytes, m.last_updated_in_seconds)
    for matched in systems.match(globs)
    for m in matched.metadata_list
    if not systems.exists(f'{m.path}/')
  ]


def describe(path: str) -> corpus_files.CorpusFile:
  """Returns what a file is now."""
  return _matches(filesystems()[0], [path])[0]


@contextlib.contextmanager
def whole(path: str) -> Any:
  """A file to write that gets its name when it is whole.

  As `reporting.files.whole`, but by Beam's calls: a bucket has no name that
  begins with a dot to hide behind, no umask, and renames by copying.
  """
  systems, plain = filesystems()
  part = f'{path}.{uuid.uuid4().hex}.part'
  try:
    with systems.create(part, compression_type=plain) as file:
      yield file
    systems.rename([part], [path])
  except BaseException:
    if systems.exists(part):
      systems.delete([part])
    raise
