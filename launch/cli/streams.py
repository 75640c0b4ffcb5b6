"""Standard streams that others may close: a pipe, a terminal, a scheduler."""

import os
import sys
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


def say(text: str) -> None:
  """Prints a line on standard error, if anyone is left to read it."""
  try:
    print(text, file=sys.stderr, flush=True)
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
