"""Lines of a file or of standard input as they come, unpacked where needed."""

import contextlib
import gzip
import pathlib
import sys
import zlib
from collections.abc import Iterator
from typing import Any

from glue_jax.data.readers.files import Log, decode

_CHUNK = 1 << 16  # bytes
_GZIP = b'\x1f\x8b'


class Lines:
  """Lines of a stream as they come, without their ends.

  Attributes:
    number: of the last line that was given.
    waiting: no further line with text has come yet.
  """

  def __init__(self, file: Any, log: Log):
    self.number = 0
    self.waiting = False
    self._log = log
    self._lines = self._read(file)

  def __iter__(self) -> Iterator[str]:
    return self

  def __next__(self) -> str:
    return next(self._lines)

  def _read(self, file: Any) -> Iterator[str]:
    rest: list[bytes] = []
    while chunk := file.read1(_CHUNK):
      *whole, last = chunk.split(b'\n')
      if whole:
        whole[0] = b''.join([*rest, whole[0]])
        rest = []
      rest.append(last)
      texts = (place for place, raw in enumerate(whole, 1) if raw.strip())
      final = max(texts, default=0)
      for place, raw in enumerate(whole, 1):
        self.waiting = place >= final
        yield self._text(raw)
    if any(rest):
      self.waiting = True
      end = b''.join(rest)
      # Where no line feed ends a line, carriage returns do.
      lone = self.number == 0 and b'\r' in end.rstrip(b'\r')
      for raw in end.rstrip(b'\r').split(b'\r') if lone else [end]:
        yield self._text(raw)

  def _text(self, raw: bytes) -> str:
    self.number += 1
    if self.number == 1:
      if raw[:2] in (b'\xff\xfe', b'\xfe\xff'):
        self._log.bad(1, 'the file is UTF-16; convert it to UTF-8')
      raw = raw.removeprefix(b'\xef\xbb\xbf')
    raw = raw.removesuffix(b'\r')
    return (decode(raw, self.number, self._log) or '') if raw.strip() else ''


@contextlib.contextmanager
def opened(path: str) -> Iterator[Any]:
  """The file's bytes, unpacked where they are gzip's.

  Args:
    path: of the file; '-' = standard input.

  Raises:
    FileNotFoundError: no such file.
    ValueError: standard input is closed, or gzip's bytes are cut short.
  """
  if path == '-' and sys.stdin is None:
    raise ValueError('--input=-, but standard input is closed')
  with contextlib.ExitStack() as stack:
    if path == '-':
      file: Any = sys.stdin.buffer
    elif not pathlib.Path(path).exists():
      raise FileNotFoundError(f'{path} does not exist; expected own texts')
    else:
      file = stack.enter_context(pathlib.Path(path).open('rb'))
    if file.peek(len(_GZIP)).startswith(_GZIP):
      file = stack.enter_context(gzip.GzipFile(fileobj=file))
    try:
      yield file
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
      raise ValueError(
        f'{path}: not a whole gzip file ({error}); copy it again'
      ) from error
