"""Files to records: bytes, lines, TSV without quoting, and CSV.

Every reader gives (line number, record) pairs, so that whatever is wrong
later can be named with file and line. How odd bytes are treated:

  BOM                 dropped at the start of a file
  CRLF                the carriage return is dropped
  CR alone            ends lines where no line feed does
  empty file          error
  NUL, invalid UTF-8  error with line and byte
  blank line          error, except at the end of the file
  stray quotes        TSV: data (the GLUE files have no quoting); CSV: error
  header in quotes    TSV: all its cells are read as those of CSV
  cells in quotes     TSV, under a header without: data, with a note
  line over 1 MB      kept, with a note
  packed by gzip      unpacked, whatever its ending; a truncated one is an error
"""

import csv
import gzip
import io
import pathlib
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

LONG_LINE = 1_000_000
_GZIP = b'\x1f\x8b'

Record = dict[str, Any]


class Part(NamedTuple):
  """One of a split's files: its path, and lines before and up to its end."""

  path: str
  before: int
  end: int


def place(path: Any, parts: Sequence[Part], line: int) -> str:
  """Where a line stands: 'file:line'.

  Args:
    path: the split's file, where it is one.
    parts: its files, where they are several.
    line: from 1, counted through them.
  """
  for part in parts:
    if line <= part.end:
      return f'{part.path}:{line - part.before}'
  return f'{path}:{line}'


class Log:
  """Problems and notes of a split's file, or files.

  Args:
    path: the file.
    drop: leave bad rows out (with a note) instead of raising.
    droppable: whether the user could ask for that.
  """

  def __init__(
    self, path: pathlib.Path, drop: bool = False, droppable: bool = True
  ):
    self.path = path
    self.drop = drop
    self.droppable = droppable
    self.notes: list[str] = []
    self.dropped: list[tuple[int, str]] = []
    self.kept: list[int] = []  # lines of the rows that were good
    self.parts: list[Part] = []  # of several files

  def bad(self, line: int, message: str) -> None:
    """Reports a bad row: raises ValueError, or records it when dropping."""
    if not self.drop:
      hint = ' (bad_rows="drop" leaves such rows out)' if self.droppable else ''
      raise ValueError(f'{self.place(line)}: {message}{hint}')
    self.dropped.append((line, message))

  def note(self, line: int, message: str) -> None:
    self.notes.append(f'{self.place(line)}: {message}')

  def place(self, line: int) -> str:
    """Where a line stands: 'file:line'."""
    return place(self.path, self.parts, line)

  def add(
    self, part: 'Log', records: Sequence[tuple[int, Record]]
  ) -> list[tuple[int, Record]]:
    """Goes on with another file, whose lines count on.

    Args:
      part: the log of its reading.
      records: (line, record) pairs of it.

    Returns:
      The records, their lines counted through all files.
    """
    before = self.parts[-1].end if self.parts else 0
    dropped = [(before + line, text) for line, text in part.dropped]
    found = [(before + line, record) for line, record in records]
    end = max((line for line, _ in (*found, *dropped)), default=before)
    self.parts.append(Part(str(part.path), before, end))
    self.notes += part.notes
    self.dropped += dropped
    return found

  def all_notes(self) -> list[str]:
    """Notes, with one line for the rows which were dropped."""
    if not self.dropped:
      return self.notes
    first = '; '.join(
      f'{self.place(n) if self.parts else f"line {n}"}: {text}'
      for n, text in self.dropped[:3]
    )
    return [
      *self.notes,
      f'{self.path}: {len(self.dropped)} bad rows were left out ({first})',
    ]


def read_bytes(path: pathlib.Path) -> bytes:
  """The file's bytes without a BOM, unpacked when they are gzip's.

  Raises:
    FileNotFoundError: no such file; lists its folder.
    ValueError: empty, UTF-16, or a broken gzip file.
  """
  try:
    data = path.read_bytes()
  except FileNotFoundError:
    raise FileNotFoundError(
      f'{path} does not exist; its folder has {_listing(path.parent)}'
    ) from None
  if data.startswith(_GZIP) or path.suffix.lower() == '.gz':
    try:
      data = gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
      raise ValueError(
        f'{path}: not a whole gzip file ({error}); copy it again'
      ) from error
  if data[:2] in (b'\xff\xfe', b'\xfe\xff'):
    raise ValueError(f'{path}:1: the file is UTF-16; convert it to UTF-8')
  data = data.removeprefix(b'\xef\xbb\xbf')
  if not data.strip():
    raise ValueError(f'{path}:1: the file is empty; expected rows of data')
  return data


def lines(path: pathlib.Path, log: Log) -> Iterator[tuple[int, str]]:
  """Yields (number from 1, text) of each line that can be read.

  Only line feeds end a line: U+2028 and the like are data.
  """
  for number, raw in enumerate(_split(read_bytes(path)), 1):
    text = decode(raw, number, log)
    if text is not None:
      yield number, text


def _split(data: bytes) -> list[bytes]:
  data = data.rstrip(b'\r\n')
  parts = data.split(b'\n' if b'\n' in data else b'\r')
  return [part[:-1] if part.endswith(b'\r') else part for part in parts]


def decode(raw: bytes, number: int, log: Log) -> str | None:
  """The text of a line; None, reported to `log`, where it can't be read."""
  if not raw.strip():
    log.bad(number, 'blank line; expected a row')
    return None
  nul = raw.find(b'\0')
  if nul >= 0:
    log.bad(number, f'NUL character at byte {nul} of the line')
    return None
  if len(raw) > LONG_LINE:
    log.note(
      number,
      f'the line has {len(raw)} bytes; it is kept, and cut at max_length '
      f'tokens',
    )
  try:
    return raw.decode()
  except UnicodeDecodeError as error:
    log.bad(
      number,
      f'invalid UTF-8 at byte {error.start} of the line '
      f'(0x{raw[error.start]:02x}); convert the file to UTF-8',
    )
    return None


def read_tsv(
  path: pathlib.Path,
  log: Log,
  needed: tuple[str, ...],
  headerless: tuple[str, ...] = (),
) -> Iterator[tuple[int, Record]]:
  """Rows of a tab-separated file; a quote character is data.

  Args:
    needed: columns that the header must have.
    headerless: names of the columns when the file may lack a header.

  Raises:
    ValueError: empty, header only, or a column is missing.
  """
  rows = lines(path, log)
  number, first = next(rows)
  header = first.split('\t')
  if all(map(in_quotes, header)):
    yield from read_csv(path, log, needed, '\t')
    return
  _once(path, number, header, needed)
  pending = []
  if not set(needed) <= set(header):
    if not headerless or len(header) != len(headerless):
      raise _header_error(path, number, header, needed, headerless)
    pending = [(number, first)]
    header = list(headerless)
  empty, quoted = True, set(needed)
  for number, text in _chain(pending, rows):
    empty = False
    values = text.split('\t')
    if len(values) != len(header):
      log.bad(
        number,
        f'{len(values)} columns, expected {len(header)} ({", ".join(header)})',
      )
    else:
      record = dict(zip(header, values))
      quoted = {name for name in quoted if in_quotes(record[name])}
      yield number, record
  if empty:
    raise ValueError(f'{path}:1: only a header; expected rows after it')
  for name in sorted(quoted):
    log.note(
      1,
      f'every cell of column {name!r} is in quotes, which are read as part of '
      'it; put the header in quotes too, and they are those of CSV',
    )


def in_quotes(text: str) -> bool:
  """Whether a cell begins and ends with a double quote."""
  return len(text) > 1 and text[0] == text[-1] == '"'


def _chain(pending, rows):
  yield from pending
  yield from rows


def _once(path, number, header, needed) -> None:
  """A column that is needed stands once in the header."""
  twice = [name for name in needed if header.count(name) > 1]
  if twice:
    raise ValueError(
      f'{path}:{number}: column {twice[0]!r} is there '
      f'{header.count(twice[0])} times; expected once'
    )


def _header_error(path, number, header, needed, headerless=()):
  also = f' or {len(headerless)} columns without a header' if headerless else ''
  shown = ', '.join(repr(name[:40]) for name in header[:12])
  return ValueError(
    f'{path}:{number}: columns {shown} were found; expected a header with '
    f'{", ".join(map(repr, needed))}{also}. Is this the file of another task?'
  )


def read_csv(
  path: pathlib.Path,
  log: Log,
  needed: tuple[str, ...],
  delimiter: str = ',',
) -> Iterator[tuple[int, Record]]:
  """Rows of a comma-separated file with double quotes (RFC 4180).

  Quoted fields may hold line ends; the number is the row's first line.

  Raises:
    ValueError: empty, header only, a column is missing, or a stray quote
      makes the rest of the file unreadable.
  """
  kept = dict(lines_or_blank(path, log))
  text = '\n'.join(kept.get(n, '') for n in range(1, max(kept, default=0) + 1))
  old = csv.field_size_limit(len(text) + 1)
  try:
    file = io.StringIO(text, newline='')
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    header = next(reader)
    if not set(needed) <= set(header):
      raise _header_error(path, 1, header, needed)
    _once(path, 1, header, needed)
    start, empty = reader.line_num + 1, True
    try:
      for values in reader:
        if values and len(values) != len(header):
          log.bad(start, f'{len(values)} columns, expected {len(header)}')
        elif values:
          empty = False
          yield start, dict(zip(header, values))
        start = reader.line_num + 1
    except csv.Error as error:
      raise ValueError(
        f'{path}:{start}: {error}; a quote inside a field is written twice '
        f'and the field is put in quotes'
      ) from error
    if empty:
      raise ValueError(f'{path}:1: only a header; expected rows after it')
  finally:
    csv.field_size_limit(old)


def lines_or_blank(path: pathlib.Path, log: Log) -> Iterator[tuple[int, str]]:
  """As lines(), but blank lines pass (they may be inside a quoted field)."""
  for number, raw in enumerate(_split(read_bytes(path)), 1):
    text = decode(raw, number, log) if raw.strip() else ''
    if text is not None:
      yield number, text


def _listing(folder: pathlib.Path) -> str:
  if not folder.is_dir():
    return f'no folder {folder}'
  names = sorted(entry.name for entry in folder.iterdir())
  return ', '.join(names[:20]) or 'nothing in it'
