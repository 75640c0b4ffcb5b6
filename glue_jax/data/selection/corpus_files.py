"""Texts for data selection: files, byte ranges of them, lines, documents.

A document is a line of a text file or the text of a record of a JSONL file
(also .gz), or, with `chunk_words`, a run of so many words of it. Documents are
numbered in the stated order of the files. A file is cut into pieces at any
byte; a line belongs to the piece that its first byte lies in, so every line is
in exactly one piece. A .gz file is one piece.
"""

import dataclasses
import glob
import gzip
import json
import math
import os
import pathlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

from glue_jax.data.readers import json_text

SUFFIXES = ('.txt', '.txt.gz', '.jsonl', '.jsonl.gz')
_BOM = b'\xef\xbb\xbf'
_BATCH_BYTES = 1 << 18

Opener = Callable[[str], BinaryIO]


class CorpusFile(NamedTuple):
  """A file as it was found: path, bytes, time of the last change."""

  path: str
  size: int
  modified: float


@dataclasses.dataclass(frozen=True)
class Piece:
  """A byte range of a file, or a whole compressed one.

  Attributes:
    index: place among all pieces of a corpus, in the order of documents.
    path: the file.
    start, stop: bytes from `start` to before `stop`; not used for .gz.
  """

  index: int
  path: str
  start: int
  stop: int

  @property
  def compressed(self) -> bool:
    """Whether the piece is a whole .gz file."""
    return self.path.endswith('.gz')

  @property
  def jsonl(self) -> bool:
    """Whether lines are JSON records."""
    return self.path.removesuffix('.gz').endswith('.jsonl')


@dataclasses.dataclass(frozen=True)
class Documents:
  """How lines become documents.

  Attributes:
    text_key: key of the text in JSONL records.
    id_key: key of the record's own id, which must be unique; '' for none.
    chunk_words: cut texts at every so many spaces; 0: don't. The last chunk
      of a text may be shorter.
  """

  text_key: str = 'text'
  id_key: str = ''
  chunk_words: int = 0

  def __post_init__(self):
    if self.chunk_words < 0:
      raise ValueError(f'chunk_words={self.chunk_words}; expected 0 or more')

  def split(self, text: str) -> list[str]:
    """Documents of one text, at least one."""
    size = self.chunk_words
    if not size:
      return [text]
    words = text.split(' ')
    return [' '.join(words[i : i + size]) for i in range(0, len(words), size)]


@dataclasses.dataclass
class Batch:
  """Documents of lines that follow each other.

  Attributes:
    texts: of the documents.
    lines: bytes of each line, without the line end.
    spread: number of documents of each line.
    checks: CRC-32 of each line, to notice a file that changes.
    names: own ids of the records, if there is an `id_key`.
  """

  texts: list[str] = dataclasses.field(default_factory=list)
  lines: list[bytes] = dataclasses.field(default_factory=list)
  spread: list[int] = dataclasses.field(default_factory=list)
  checks: list[int] = dataclasses.field(default_factory=list)
  names: list[str] = dataclasses.field(default_factory=list)


def open_local(path: str) -> BinaryIO:
  """Opens a file of this machine for reading bytes."""
  return open(path, 'rb')


def describe(path: str) -> CorpusFile:
  """Returns what a file of this machine is now."""
  stat = os.stat(path)
  return CorpusFile(path, stat.st_size, stat.st_mtime)


def find(patterns: Sequence[str | os.PathLike]) -> list[CorpusFile]:
  """Files of a corpus: files, folders (searched to the bottom) and globs.

  Files of one folder or glob are sorted by name.

  Raises:
    FileNotFoundError: nothing is there.
    ValueError: a file is given twice.
  """
  files = []
  for pattern in map(str, patterns):
    path = pathlib.Path(pattern)
    if path.is_dir():
      paths = sorted(
        str(p) for p in path.rglob('*') if p.name.endswith(SUFFIXES)
      )
    elif path.is_file():
      paths = [pattern]
    else:
      paths = sorted(glob.glob(pattern, recursive=True))
    if not paths:
      raise not_found(pattern)
    files += paths
  check_once(files)
  return [describe(path) for path in files]


def not_found(pattern: str) -> FileNotFoundError:
  """The error for a pattern that no file fits."""
  return FileNotFoundError(
    f'{pattern}: expected a file, a pattern, or a folder with files '
    f'{", ".join("*" + s for s in SUFFIXES)}'
  )


def check_once(paths: Sequence[str]) -> None:
  """Raises ValueError if a file is given twice."""
  twice = sorted({path for path in paths if paths.count(path) > 1})
  if twice:
    raise ValueError(f'{twice[0]} is given twice; name each file once')


def cut(corpus: Sequence[CorpusFile], count: int) -> list[Piece]:
  """Cuts a corpus into about `count` pieces of like size.

  Args:
    corpus: its files in the order of documents.
    count: at least 1; every file is one piece or more.

  Raises:
    ValueError: count below 1, or no file has a byte.
  """
  total = sum(source.size for source in corpus)
  if count < 1:
    raise ValueError(f'{count} shards; expected at least 1')
  if not total:
    raise ValueError(
      f'{corpus[0].path}:1: the corpus is empty ({len(corpus)} files, no '
      f'byte); expected a document on every line'
    )
  step = -(-total // count)
  pieces = []
  for path, size, _ in corpus:
    whole = path.endswith('.gz')
    for start in range(0, size, size if whole else step):
      stop = size if whole else min(start + step, size)
      pieces.append(Piece(len(pieces), path, start, stop))
  return pieces


def batches(
  piece: Piece, documents: Documents, opener: Opener = open_local
) -> Iterator[Batch]:
  """Yields the documents of a piece, some hundred kilobytes at a time.

  Raises:
    ValueError: a line that isn't UTF-8 or no valid record, or a broken .gz
      file; with file and line.
  """
  if documents.id_key and not piece.jsonl:
    raise ValueError(
      f'{piece.path}:1: lines of plain text have no id {documents.id_key!r}; '
      f'expected a .jsonl file'
    )
  batch, size, number = Batch(), 0, 0
  try:
    for line in lines(piece, opener):
      number += 1
      text, name = parse(line, piece, documents)
      parts = documents.split(text)
      batch.texts += parts
      batch.lines.append(line)
      batch.spread.append(len(parts))
      batch.checks.append(zlib.crc32(line))
      if documents.id_key:
        batch.names.append(name)
      size += len(line)
      if size >= _BATCH_BYTES:
        yield batch
        batch, size = Batch(), 0
  except _BadLine as error:
    line = line_number(piece, number, opener)
    raise ValueError(f'{piece.path}:{line}: {error}') from None
  except (EOFError, gzip.BadGzipFile, zlib.error) as error:
    raise ValueError(
      f'{piece.path}:{number + 1}: not a whole gzip file ({error}); copy it '
      f'again'
    ) from None
  if batch.lines:
    yield batch


class _BadLine(Exception):
  """What is wrong with a line; file and line are added where they are known."""


def lines(piece: Piece, opener: Opener = open_local) -> Iterator[bytes]:
  """Yields the lines of a piece without line ends (LF or CR LF)."""
  with opener(piece.path) as raw:
    if piece.compressed:
      with gzip.open(raw) as file:
        yield from _lines(file, 0, math.inf)
    else:
      place = 0
      if piece.start:  # skip what began before
        raw.seek(piece.start - 1)
        place = piece.start - 1 + len(raw.readline())
      yield from _lines(raw, place, piece.stop)


def _lines(file: Iterable[bytes], place: int, stop: float) -> Iterator[bytes]:
  for line in file:
    if place >= stop:
      return
    yield _bare(line if place else line.removeprefix(_BOM))
    place += len(line)


def _bare(line: bytes) -> bytes:
  return line.removesuffix(b'\n').removesuffix(b'\r')


def parse(line: bytes, piece: Piece, documents: Documents) -> tuple[str, str]:
  """Returns (text, own id or '') of a line.

  Raises:
    _BadLine: the line can't be read.
  """
  try:
    text = line.decode()
  except UnicodeDecodeError as error:
    raise _BadLine(
      f'invalid UTF-8 at byte {error.start} of the line '
      f'(0x{line[error.start]:02x}); convert the file to UTF-8'
    ) from None
  if not piece.jsonl:
    return text, ''
  try:
    record = json_text.loads(text)
  except json_text.Twice as error:
    raise _BadLine(error.msg) from None
  except json.JSONDecodeError as error:
    raise _BadLine(
      f'not JSON at character {error.pos}: {error.msg}; expected one record '
      f'on every line'
    ) from None
  if not isinstance(record, dict):
    raise _BadLine(f'{type(record).__name__} found, expected an object')
  for key in filter(None, (documents.text_key, documents.id_key)):
    if key not in record:
      raise _BadLine(f'keys {sorted(record)} lack {key!r}')
  text = record[documents.text_key]
  if not isinstance(text, str):
    raise _BadLine(
      f'{documents.text_key!r} is {type(text).__name__}, expected text'
    )
  name = record[documents.id_key] if documents.id_key else ''
  return text, str(name)


def line_number(piece: Piece, nth: int, opener: Opener = open_local) -> int:
  """Number in its file, from 1, of the n-th line of a piece."""
  before = 0
  if piece.start and not piece.compressed:
    with opener(piece.path) as file:
      left, last = piece.start, b'\n'
      while left and (data := file.read(min(left, 1 << 20))):
        before += data.count(b'\n')
        left, last = left - len(data), data[-1:]
    before += last != b'\n'  # the line that the piece starts inside
  return before + nth
