"""Checkpoints: saved whole, verified before use, `best` and `last` apart.

Orbax writes a step into a temporary folder and renames it, every process its
own part, while training goes on. After that each process writes a manifest of
its files' sizes and SHA-256: a step that lacks one was not finished, one that
disagrees with it was damaged. Both are passed over with a warning, and the step
before is used; the run itself moves them to `corrupt/`. Who only reads leaves
them: the run may be writing there.

Frozen leaves stand beside the steps or in their source, see frozen.py.
"""

import contextlib
import copy
import hashlib
import json
import os
import pathlib
import re
import shutil
from collections.abc import Mapping, Sequence
from concurrent import futures
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers

from glue_jax.reporting.files import whole
from glue_jax.training import frozen
from glue_jax.training.state import TrainState

KINDS = ('last', 'best')
MANIFEST = 'manifest.json'
_PROCESSES = 'processes'  # a key of it that is no file


class CheckpointError(RuntimeError):
  """A checkpoint could not be written, or none can be read."""


class Checkpoints:
  """The checkpoints of one run: `folder/last/<step>`, `folder/best/<step>`."""

  def __init__(
    self,
    folder: str | os.PathLike,
    keep: int = 2,
    create: bool = True,
    begun: TrainState | None = None,
    origins: Mapping[str, str] | None = None,
  ):
    """Opens the folder.

    Args:
      folder: absolute or relative path.
      keep: how many of `last` are kept; of `best` it is always one.
      create: False opens an existing folder to read.
      begun: the state before the first step.
      origins: {place of a frozen leaf: folder that it was read in}.

    Raises:
      CheckpointError: the folder can't be made, or isn't there to be read.
    """
    self.folder, self._ours = pathlib.Path(folder).absolute(), create
    if not create and not self.folder.is_dir():
      raise CheckpointError(f'no checkpoints at {self.folder}')
    self._frozen = frozen.Frozen(self.folder / frozen.FOLDER, begun, origins)
    self._worker = futures.ThreadPoolExecutor(1)  # ends saves, in order
    self._under_way: dict[str, futures.Future] = {}
    self._unswept: list[frozen.Record] = []
    self._managers = {}
    for kind, count in zip(KINDS, (keep, 1), strict=True):
      try:
        self._managers[kind] = ocp.CheckpointManager(
          self.folder / kind,
          options=ocp.CheckpointManagerOptions(
            preservation_policy=checkpoint_managers.LatestN(count),
            enable_async_checkpointing=create,
            create=create,
          ),
        )
      except OSError as error:
        raise CheckpointError(
          f'cannot make {self.folder / kind}: {error}; choose a workdir that '
          'can be written'
        ) from error

  def steps(self, kind: str = 'last') -> list[int]:
    """Returns the saved steps in rising order."""
    folder = self.folder / kind
    names = os.listdir(folder) if folder.is_dir() else []
    return sorted(int(name) for name in names if name.isdigit())

  def save(
    self, kind: str, step: int, state: TrainState, host: Mapping[str, Any]
  ) -> None:
    """Begins to save a step; the state may be used up when it returns.

    Args:
      kind: 'last' or 'best'.
      step: number of finished steps; saved already is no error.
      state: of the run.
      host: JSON values; as they are now, whatever becomes of them later.

    Raises:
      CheckpointError: it, or one before it, could not be written; those that
        are whole are untouched.
    """
    path = self.folder / kind / str(step)
    # Processes agree on what they wait for: one save at a time.
    self.wait(None if jax.process_count() > 1 else kind)
    if (path / MANIFEST).exists():
      return
    with self._told(path):
      lean, record = self._frozen.take_out(state)
      # Written while training goes on, which changes what hooks keep.
      kept = copy.deepcopy(dict(host))
      args = ocp.args.Composite(
        state=ocp.args.StandardSave(lean), host=ocp.args.JsonSave(kept)
      )
      self._unswept.append(record)
      self._managers[kind].save(step, args=args, force=True)
    self._under_way[kind] = self._worker.submit(self._end, kind, path, record)

  def wait(self, kind: str | None = None) -> None:
    """Waits until what is being saved is on disk and has its manifests.

    Args:
      kind: 'last' or 'best'; None = both.

    Raises:
      CheckpointError: see `save`.
    """
    for name in KINDS if kind is None else (kind,):
      if name in self._under_way:
        self._under_way.pop(name).result()

  def _end(self, kind, path, record):
    with self._told(path):
      self._managers[kind].wait_until_finished()
      if jax.process_index() == 0:
        (path / frozen.FILE).write_text(json.dumps(record))
      _write_manifest(path)
      self._frozen.sweep([*self._records(), *self._unswept])
      self._unswept.remove(record)

  @contextlib.contextmanager
  def _told(self, path):
    """Says what could not be written, and takes the half of it away."""
    try:
      yield
    # Storage errors reach Python as any of these, by the layer they arise in.
    except (OSError, ValueError, RuntimeError) as error:
      if jax.process_index() == 0:
        shutil.rmtree(path, ignore_errors=True)
        for part in path.parent.glob(f'{path.name}.orbax-checkpoint-tmp*'):
          shutil.rmtree(part, ignore_errors=True)
      said = str(error).strip().partition('\n')[0]
      free = shutil.disk_usage(self.folder).free
      raise CheckpointError(
        f'could not write checkpoint {path}, {free:,} bytes are free there: '
        f'{said}; free space or choose another workdir and start again; whole '
        f'checkpoints there: {self._whole(path.parent.name)}'
      ) from error

  def _whole(self, kind):
    found = ((s, self.folder / kind / str(s)) for s in self.steps(kind))
    return [step for step, path in found if (path / MANIFEST).exists()]

  def newest(self, kind: str = 'last') -> int | None:
    """Returns the newest whole step; the run moves damaged ones aside."""
    self.wait()
    newest = None
    if jax.process_index() == 0:
      for step in reversed(self.steps(kind)):
        problem = self._problem(self.folder / kind / str(step))
        if problem is None:
          newest = step
          break
        moved = ''
        if self._ours:
          moved = f'moved to {self._move_aside(kind, step)}, '
        logging.warning(
          'checkpoint %s of step %d is damaged (%s); %sthe one before is used',
          kind,
          step,
          problem,
          moved,
        )
    if jax.process_count() > 1:
      newest = int(
        multihost_utils.broadcast_one_to_all(-1 if newest is None else newest)
      )
      newest = None if newest < 0 else newest
    self._managers[kind].reload()
    return newest

  def host(self, kind: str, step: int) -> dict[str, Any]:
    """Returns the JSON values of a step."""
    self.wait()
    args = ocp.args.Composite(host=ocp.args.JsonRestore())
    return self._managers[kind].restore(step, args=args)['host']

  def state(
    self,
    kind: str,
    step: int,
    begun: TrainState,
    readers: Sequence[frozen.Reader] = (),
    opened: bool = False,
  ) -> TrainState:
    """Returns the state of a step.

    Args:
      kind, step: which.
      begun: the state as this start has made it, in place; on any number of
        devices, whatever the number it was saved on.
      readers, opened: of frozen leaves, see `Frozen.put_back`.

    Raises:
      CheckpointError: the saved tree has another structure, or its frozen
        leaves are gone.
    """
    try:
      self.wait()
      record = frozen.read(self.folder / kind / str(step))
      like = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
        frozen.without(begun, record),
      )
      args = ocp.args.Composite(state=ocp.args.StandardRestore(like))
      state = self._managers[kind].restore(step, args=args)['state']
      return self._frozen.put_back(state, record, begun, readers, opened)
    except frozen.Changed as error:
      raise CheckpointError(
        f'checkpoint {self.folder / kind / str(step)}: {error}'
      ) from error
    except (ValueError, KeyError) as error:
      said = str(error).strip().partition('\n')[0]
      raise CheckpointError(
        f'checkpoint {self.folder / kind / str(step)} does not fit this '
        f'config: {said}'
      ) from error

  def preempted(self, step: int) -> bool:
    """Says whether the cluster has asked this job to stop."""
    return self._managers['last'].reached_preemption(step)

  def close(self) -> None:
    """Waits for what is being saved; see `save` for what it raises."""
    try:
      self.wait()
    finally:
      self._worker.shutdown()
      while self._managers:
        self._managers.popitem()[1].close()

  def _problem(self, path):
    """Returns what is wrong with a saved step, or None."""
    return _check_manifest(path) or self._frozen.problem(frozen.read(path))

  def _records(self):
    """Records of all steps that there are."""
    for path in self.folder.glob(f'*/*/{frozen.FILE}'):
      yield json.loads(path.read_text())

  def _move_aside(self, kind, step):
    aside = self.folder / 'corrupt' / f'{kind}-{step}'
    shutil.rmtree(aside, ignore_errors=True)
    aside.parent.mkdir(exist_ok=True)
    (self.folder / kind / str(step)).rename(aside)
    return aside


def _write_manifest(path: pathlib.Path) -> None:
  """Writes what this process has written; the first one, how many there are."""
  index, count = jax.process_index(), jax.process_count()
  files: dict[str, Any] = {
    str(file.relative_to(path)): [file.stat().st_size, _sha256(file)]
    for file in sorted(path.rglob('*'))
    if file.is_file() and _owner(file.relative_to(path)) == index
  }
  if index == 0:
    files[_PROCESSES] = count
  with whole(path / _manifest(index), sync=True) as part:
    part.write_text(json.dumps(files))


def _manifest(index: int) -> str:
  return MANIFEST if index == 0 else f'manifest.{index}.json'


def _owner(file: pathlib.Path) -> int | None:
  """The process that has written a file; None of manifests, done or begun."""
  if re.match(r'\.?manifest(\.\d+)?\.json', file.name):
    return None
  parts = re.findall(r'(?:^|/)ocdbt\.process_(\d+)/', file.as_posix())
  return int(parts[0]) if parts else 0


def _check_manifest(path: pathlib.Path) -> str | None:
  """Returns what is wrong with a saved step, or None."""
  files, index, count = {}, 0, 1
  while index < count:
    try:
      files |= json.loads((path / _manifest(index)).read_text())
    except (OSError, ValueError):
      return f'no readable {_manifest(index)}: it was not finished'
    count = files.pop(_PROCESSES, count)
    index += 1
  for name, (size, digest) in files.items():
    file = path / name
    if not file.is_file():
      return f'{name} is missing'
    if file.stat().st_size != size:
      return f'{name} has {file.stat().st_size} bytes, not {size}'
    if _sha256(file) != digest:
      return f'{name} has other content'
  return None


def _sha256(file: pathlib.Path) -> str:
  with file.open('rb') as source:
    return hashlib.file_digest(source, 'sha256').hexdigest()
