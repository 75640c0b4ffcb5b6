"""A lock of a workdir: one process at a time reads, writes and removes there.

`lock.json` names its holder: host, process, since when. A holder on this host
is dead when its process is; of one elsewhere, on storage that several hosts or
containers share, only signs of life are seen: it touches the file every few
seconds, and is dead when that has stopped for long. The lock of a dead holder
is taken over. Times are those of the storage, so clocks needn't agree.
"""

import contextlib
import datetime
import json
import os
import pathlib
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

from absl import logging

from glue_jax.reporting import files

NAME = 'lock.json'
BEAT = 15.0  # seconds between two signs of life
# Seconds without one after which a holder elsewhere is dead. Network file
# systems may show a file's time a minute late.
SILENT = 90.0
_GONE = 0.0  # when a file that isn't there was touched
_held: set[pathlib.Path] = set()


class Locked(ValueError):
  """Another process is at work in the workdir."""


@contextlib.contextmanager
def hold(workdir: str | os.PathLike) -> Iterator[None]:
  """Holds the lock of a workdir, which is made; process 0 only.

  Held already by this process, it does nothing. A folder that is still empty
  at the end is removed if it was made here.

  Args:
    workdir: the folder.

  Raises:
    Locked: another process holds it; says which one.
    ValueError: the folder cannot be made or written.
  """
  folder = pathlib.Path(workdir).resolve()
  if not files.is_first_process() or folder in _held:
    yield
    return
  path, own, made = folder / NAME, _own(), _missing(folder)
  try:
    folder.mkdir(parents=True, exist_ok=True)
    _take(path, own)
  except OSError as error:
    _remove_empty(made)
    raise ValueError(f'workdir {workdir} cannot be written: {error}') from error
  ended = threading.Event()
  beat = threading.Thread(target=_beat, args=(path, own, ended), daemon=True)
  beat.start()
  _held.add(folder)
  try:
    yield
  finally:
    _held.discard(folder)
    ended.set()
    beat.join()
    if _read(path) == own:
      path.unlink(missing_ok=True)
    _remove_empty(made)


def holder(workdir: str | os.PathLike) -> str | None:
  """Says which other process is at work in a workdir; None for none."""
  folder = pathlib.Path(workdir).resolve()
  record = _read(folder / NAME)
  if folder in _held or record is None:
    return None
  if _is_here(record):
    alive = _lives(record)
  else:
    alive = _age(folder / NAME) <= SILENT
  return _named(record) if alive else None


def _own() -> dict[str, Any]:
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
  return {
    'host': socket.gethostname(),
    'pid': os.getpid(),
    'since': now,
    'place': _place(),
    'process_started': _started(os.getpid()),
    'token': uuid.uuid4().hex,
  }


def _place() -> str:
  """Where a process number means something: this boot of this container."""
  try:
    boot = pathlib.Path('/proc/sys/kernel/random/boot_id').read_text().strip()
    return f'{boot} {os.readlink("/proc/self/ns/pid")}'
  except OSError:  # no Linux
    return socket.gethostname()


def _started(pid: int) -> str | None:
  """When a process started, in the kernel's ticks; None where it can't say."""
  try:
    text = pathlib.Path(f'/proc/{pid}/stat').read_text()
  except OSError:
    return None
  return text.rpartition(')')[2].split()[19]  # field 22 of proc(5)


def _take(path: pathlib.Path, own: dict[str, Any]) -> None:
  """Puts our record there, unless there is one of a living process."""
  text = json.dumps(own, indent=2) + '\n'
  while not _put(path, text):
    record, seen = _read(path), _text(path)
    if seen is None:  # released meanwhile
      continue
    if _alive(path, record or {}):
      raise Locked(
        f'{path.parent} is in use by {_named(record or {})}; wait for it to '
        'end, or give another workdir'
      )
    logging.warning(
      '%s: %s is gone; its lock is taken over', path, _named(record or {})
    )
    _take_away(path, seen)


def _put(path: pathlib.Path, text: str) -> bool:
  """Makes the file, whole, if there is none; says whether it did."""
  own = path.with_name(f'.{NAME}.{uuid.uuid4().hex[:12]}')
  try:
    own.write_text(text)
    try:
      os.link(own, path)
    except FileExistsError:
      raise
    except OSError:  # storage without hard links
      number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
      with os.fdopen(number, 'w') as file:
        file.write(text)
  except FileExistsError:
    return False
  finally:
    own.unlink(missing_ok=True)
  return True


def _take_away(path: pathlib.Path, seen: str) -> None:
  """Removes the file if it still is what was seen.

  Two may take over at once: only one of them moves the file, and who moved
  that of the other gives it back.
  """
  aside = path.with_name(f'.{NAME}.{uuid.uuid4().hex[:12]}')
  with contextlib.suppress(FileNotFoundError):
    path.rename(aside)
    if aside.read_text() != seen:
      _put(path, aside.read_text())
    aside.unlink()


def _alive(path: pathlib.Path, record: dict[str, Any]) -> bool:
  """Whether the holder lives; waits for a sign of one elsewhere."""
  if _is_here(record):
    return _lives(record)
  first, told = _touched(path), False
  while (age := _age(path)) <= SILENT:
    if _touched(path) not in (first, _GONE):
      return True
    if not told:
      logging.warning(
        '%s: held by %s, whose process is not seen from here; waiting up to '
        '%d s for a sign of life',
        path,
        _named(record),
        SILENT - age,
      )
      told = True
    time.sleep(min(1.0, BEAT))
  return False  # silent, or released meanwhile


def _is_here(record: dict[str, Any]) -> bool:
  return record.get('place') == _place() and isinstance(record.get('pid'), int)


def _lives(record: dict[str, Any]) -> bool:
  """Whether the process of a record of this place is there, and is the same."""
  try:
    os.kill(record['pid'], 0)
  except ProcessLookupError:
    return False
  except PermissionError:  # another user's
    pass
  return _started(record['pid']) == record.get('process_started')


def _age(path: pathlib.Path) -> float:
  """Seconds since the file was touched, by the storage's own clock."""
  probe = path.with_name(f'.{NAME}.{uuid.uuid4().hex[:12]}')
  try:
    probe.touch()
    return probe.stat().st_mtime - path.stat().st_mtime
  except FileNotFoundError:
    return SILENT + 1
  except OSError:  # may be read, not written
    return time.time() - _touched(path)
  finally:
    with contextlib.suppress(OSError):
      probe.unlink(missing_ok=True)


def _touched(path: pathlib.Path) -> float:
  try:
    return path.stat().st_mtime
  except OSError:
    return _GONE


def _beat(path: pathlib.Path, own: dict[str, Any], ended: Any) -> None:
  """Touches the file until the lock is released.

  A process that was halted for long may find that it was taken for dead. What
  it would still write belongs to another run now, so it ends at once.
  """
  while not ended.wait(BEAT):
    record = _read(path)
    if record is not None and record.get('token') != own['token']:
      logging.error(
        '%s was taken over by %s; this process ends', path, _named(record)
      )
      os._exit(2)
    with contextlib.suppress(OSError):
      os.utime(path)


def _text(path: pathlib.Path) -> str | None:
  try:
    return path.read_text()
  except OSError:
    return None


def _read(path: pathlib.Path) -> dict[str, Any] | None:
  """The record of a lock; None for none, or one that isn't whole."""
  try:
    record = json.loads(_text(path) or '')
  except ValueError:
    return None
  return record if isinstance(record, dict) else None


def _named(record: dict[str, Any]) -> str:
  if 'pid' not in record:
    return 'an unknown process'
  return (
    f'process {record["pid"]} on {record.get("host")}, since '
    f'{record.get("since")}'
  )


def _missing(folder: pathlib.Path) -> list[pathlib.Path]:
  """The folders on the way that aren't there yet, innermost first."""
  return [one for one in (folder, *folder.parents) if not one.exists()]


def _remove_empty(folders: list[pathlib.Path]) -> None:
  for folder in folders:
    with contextlib.suppress(OSError):
      folder.rmdir()
