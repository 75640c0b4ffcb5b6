"""What a command is started with: streams that others may close, text."""

import os
import sys
from collections.abc import Sequence
from typing import TextIO


def open_closed() -> None:
  """Opens what was closed before the start, on the null device.

  Else the next file that is opened gets its number, and what a library prints
  lands in that file.
  """
  for number in (0, 1, 2):
    try:
      os.fstat(number)
    except OSError:
      os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
  # Python has set streams that were closed to None; they stay open for good.
  for name, mode in (('stdin', 'r'), ('stdout', 'w'), ('stderr', 'w')):
    if getattr(sys, name) is None:
      setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


def speak_utf8() -> None:
  """Starts the program anew where Python takes paths and text for ASCII.

  That is LC_ALL=C without UTF-8 mode, or the locale of an old encoding: names
  of files would reach compiled libraries as what they can't read.
  """
  if sys.getfilesystemencoding() != 'utf-8':
    os.environ['PYTHONUTF8'] = '1'
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def not_utf8(argv: Sequence[str]) -> list[str]:
  """Arguments with bytes that are no UTF-8, as Python shows them."""
  return [ascii(a) for a in argv if any('\ud800' <= c <= '\udfff' for c in a)]


def say(text: str) -> None:
  """Prints a line on standard error, if anyone is left to read it."""
  try:
    safe = text.encode('utf-8', 'backslashreplace').decode()
    print(safe, file=sys.stderr, flush=True)
  except (OSError, ValueError):
    drop(sys.stderr)


def drop(stream: TextIO) -> None:
  """Sends what is still written to a stream to the null device."""
  try:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
  except (OSError, ValueError):  # it has no number: the tests' own stream
    pass
