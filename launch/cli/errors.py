"""An exception as the one line that a person reads, and its exit status.

What this project raises says by itself what was found, what was expected and
what to do. What a library or the system raises is put that way here: a full
disk with its path and free bytes, memory that didn't suffice with what to
lower, any other with its kind and its first line.
"""

import errno
import os
import pathlib
import re
import shutil
import sysconfig
import tempfile
import traceback
from collections.abc import Iterator

REFUSED = 2
INTERRUPTED = 128 + 15  # as the shell reports a process that SIGTERM ended

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_OURS = tuple(
  str(_ROOT / name) + os.sep for name in ('glue_jax', 'launch', 'configs')
)
_LIBRARIES = tuple(
  sysconfig.get_path(name) + os.sep for name in ('stdlib', 'purelib', 'platlib')
)
# Of Python's own: what a file of ours raises with words for the user.
_SAID = (ValueError, OSError, ImportError, RuntimeError)
# What compiled code raises; by name, since importing JAX takes seconds.
_OF_JAX = ('JaxRuntimeError', 'XlaRuntimeError')
_ELSEWHERE = 'or choose another folder, and start the command again'
# {number: what is full, what to do}.
_FULL = {
  errno.ENOSPC: ('no space left on the disk', 'free some'),
  errno.EDQUOT: ('the quota of the disk is used up', 'free some'),
  errno.EFBIG: (
    'the file is larger than the disk, or a limit (ulimit -f), allows',
    'raise it',
  ),
}
# As libraries say it that have errors of their own kinds.
_FULL_WORDS = {
  errno.ENOSPC: 'No space left on device|RESOURCE_EXHAUSTED.*disk',
  errno.EDQUOT: 'Disk quota exceeded',
  errno.EFBIG: 'File too large',
}
_SIZE = re.compile(r'\d[\d.,]* ?(?:bytes|[KMGT]i?B)\b')


def status(error: BaseException) -> int:
  """Exit status of a command that ended with an exception."""
  # By name: training isn't imported by a command that doesn't train.
  if type(error).__name__ == 'Interrupted':
    return INTERRUPTED
  return REFUSED


def line(error: BaseException, lower: str) -> str:
  """Returns what went wrong, and what to do, as one line.

  Refusals of this project are taken as they are.

  Args:
    error: what ended the command.
    lower: what to do where memory didn't suffice.
  """
  if _ours(error) and not isinstance(error, OSError):
    return str(error)
  for one in _chain(error):
    if _is_memory(one):
      return _memory(one, lower)
    if number := _full(one):
      return _disk(one, *_FULL[number])
  if isinstance(error, OSError) and error.errno is not None:
    return _system(error)
  if _ours(error):
    return str(error)
  if isinstance(error, _SAID) or type(error).__module__ != 'builtins':
    return f'{type(error).__name__}: {brief(error)}'
  return f'{_unexpected(error)} ({_report(error)})'


def brief(error: BaseException) -> str:
  """The first line that an exception says."""
  said = [part.strip() for part in str(error).splitlines() if part.strip()]
  return said[0] if said else type(error).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
  """The exception and those that it arose from."""
  seen: list[BaseException] = []
  one: BaseException | None = error
  while one is not None and one not in seen:
    seen.append(one)
    yield one
    one = one.__cause__ or one.__context__


def _ours(error: BaseException) -> bool:
  """Whether a file of this project or of the user raised it, with words."""
  of_jax = type(error).__name__ in _OF_JAX
  if of_jax or not isinstance(error, _SAID):
    return False
  frames = traceback.extract_tb(error.__traceback__)
  if not frames:
    return True
  file = os.path.abspath(frames[-1].filename)
  return file.startswith(_OURS) or not file.startswith(_LIBRARIES)


def _is_memory(error: BaseException) -> bool:
  if isinstance(error, MemoryError):
    return True
  return type(error).__name__ in _OF_JAX and bool(
    re.search('RESOURCE_EXHAUSTED|out of memory', str(error), re.IGNORECASE)
  )


def _memory(error: BaseException, lower: str) -> str:
  size = _SIZE.search(str(error))
  asked = f' when {size.group()} more were needed' if size else ''
  return f'out of memory{asked}; {lower}'


def _full(error: BaseException) -> int | None:
  """Number of the error of a full disk; None for other errors."""
  if isinstance(error, OSError) and error.errno in _FULL:
    return error.errno
  said = str(error)
  return next((n for n, w in _FULL_WORDS.items() if re.search(w, said)), None)


def _disk(error: BaseException, what: str, to_do: str) -> str:
  path = getattr(error, 'filename', None) or _path_in(str(error))
  where, free = '', ''
  if path:
    where, folder = f'{path}: ', pathlib.Path(str(path)).absolute()
    while not folder.is_dir():
      folder = folder.parent
    free = f' ({shutil.disk_usage(folder).free:,} bytes free)'
  return f'{where}{what}{free}; {to_do} {_ELSEWHERE}'


def _path_in(text: str) -> str | None:
  """The path of the longest name in a text that starts with /."""
  paths = re.findall(r'(/[^\s\'",;:]+)', text)
  return max(paths, key=len) if paths else None


def _system(error: OSError) -> str:
  """An error of the system: path first, in words."""
  said = (error.strerror or str(error)).lower()
  names = [error.filename, error.filename2]
  there = ' -> '.join(
    os.fsdecode(n) for n in names if isinstance(n, str | bytes)
  )
  return f'{there}: {said}' if there else said


def _unexpected(error: BaseException) -> str:
  return f'unexpected {type(error).__name__}: {brief(error)}'


def _report(error: BaseException) -> str:
  """Keeps the traceback of a mistake, which may have cost hours to meet."""
  text = ''.join(traceback.format_exception(error))
  try:
    number, path = tempfile.mkstemp('.txt', 'glue_jax_', text=True)
    with os.fdopen(number, 'w') as file:
      file.write(text)
  except OSError:
    return '--traceback shows where'
  return f'a mistake of the program; where it happened is in {path}'
