"""Frozen leaves stand beside the checkpoints, not in each of them.

What doesn't learn is the same in every checkpoint of a run. A leaf that came as
it is from a folder (the backbone under an adapter, a teacher) is not written at
all: a checkpoint names the folder and the SHA-256 of the leaf's bytes, and the
run goes on from just those. Any other (a backbone drawn from the seed, factors
that a method made) is written once, for all checkpoints.

  checkpoints/frozen/<SHA-256>              the bytes of a leaf
  checkpoints/<kind>/<step>/frozen.json     {place: [SHA-256, folder or '']}

A leaf's place is the key of its tree in `TrainState.frozen` and its name. The
optimizer's state of frozen leaves is not meant: it changes with every turn.
"""

import hashlib
import json
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from glue_jax import tree
from glue_jax.devices import sharding
from glue_jax.reporting import files
from glue_jax.training.state import TrainState

FOLDER, FILE = 'frozen', 'frozen.json'

# {place: (SHA-256, folder that has it; '' = it is kept beside the checkpoints)}
Record = Mapping[str, Sequence[str]]
Reader = Callable[[], Mapping[str, Any]]


class Changed(ValueError):
  """A leaf that a checkpoint refers to is gone, or another by now."""


def origins(
  trees: Mapping[str, tree.Tree], folders: Mapping[str, tree.Tree]
) -> dict[str, str]:
  """Returns {place: folder} of the leaves that are as they were read.

  Args:
    trees: {key: tree}, as methods have left them.
    folders: {folder: the tree that was read there}.
  """
  read = {
    id(leaf): folder
    for folder, params in folders.items()
    for leaf in tree.flatten(params).values()
  }
  return {
    place: read[id(leaf)]
    for place, leaf in tree.flatten(trees).items()
    if id(leaf) in read
  }


class Frozen:
  """The frozen leaves of one run's checkpoints."""

  def __init__(
    self,
    folder: pathlib.Path,
    begun: TrainState | None = None,
    folders: Mapping[str, str] | None = None,
  ):
    """Opens the folder; nothing is made yet.

    Args:
      folder: of leaves that no other folder has.
      begun: the state before the first step; None = nothing will be saved.
      folders: from `origins`.
    """
    self._folder = folder
    self._seen: dict[str, tuple[Any, str]] = {}
    folders = folders or {}
    self._read = {
      place: (self._digest(place, leaf), folders[place])
      for place, leaf in (_leaves(begun.frozen) if begun else {}).items()
      if place in folders
    }

  def take_out(self, state: TrainState) -> tuple[TrainState, Record]:
    """Returns the state without its frozen leaves, and where they are.

    Process 0 writes those that no folder has and that aren't written yet.

    Raises:
      OSError: one could not be written.
    """
    record = {}
    for place, leaf in _leaves(state.frozen).items():
      digest = self._digest(place, leaf)
      known, folder = self._read.get(place, ('', ''))
      record[place] = digest, folder if known == digest else ''
      if known != digest:
        self._keep(digest, leaf)
    return without(state, record), record

  def put_back(
    self,
    state: TrainState,
    record: Record,
    begun: TrainState,
    readers: Sequence[Reader] = (),
    opened: bool = False,
  ) -> TrainState:
    """Returns the state with the leaves that its checkpoint refers to.

    Args:
      state: as it was saved.
      record: of its checkpoint.
      begun: the state as this start has made it, in place.
      readers: each returns {name: array} of leaves of the model; asked for
        those that `begun` has otherwise.
      opened: the run is not trained on; trees beside the model, which only
        training needs, are left out if they lie elsewhere.

    Raises:
      Changed: a leaf is gone or another by now.
    """
    flat = tree.flatten(state.frozen)
    places = _leaves(begun.frozen)
    read: list[Mapping[str, Any]] = []
    for place, (digest, folder) in record.items():
      key, _, name = place.partition('/')
      if opened and folder and key != 'params':
        continue
      ours = places[place]
      if not folder:
        flat[place] = self._kept(place, digest, ours)
        continue
      if not opened and self._digest(place, ours) == digest:
        flat[place] = ours
        continue
      read = read or [_leaves_of(reader) for reader in readers]
      found = [tree_[name] for tree_ in read if name in tree_]
      found = [x for x in found if _sha256(np.asarray(x)) == digest]
      if not found or key != 'params':
        moved = (
          ', or, if it was moved, train on with --config.model.weights=NEW '
          '--allow_config_change'
        )
        raise Changed(
          f'{len(record)} frozen leaves are kept by their source, and {name} '
          f'in {folder} is gone or another by now; put that back as it was '
          f'when the run began{moved if key == "params" else ""}'
        )
      flat[place] = sharding.put(np.asarray(found[0]), ours.sharding)
    trees = {key: {} for key in state.frozen} | tree.unflatten(flat)
    return state.replace(frozen=trees)

  def problem(self, record: Record) -> str | None:
    """Returns what is wrong with the leaves that are kept here, or None."""
    for digest in sorted({d for d, folder in record.values() if not folder}):
      path = self._folder / digest
      if not path.is_file():
        return f'{FOLDER}/{digest} is missing'
      if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        return f'{FOLDER}/{digest} has other content'
    return None

  def sweep(self, records: Iterable[Record]) -> None:
    """Deletes leaves that none of these records has, on process 0."""
    if files.is_first_process() and self._folder.is_dir():
      used = {digest for r in records for digest, folder in r.values()}
      for path in self._folder.iterdir():
        if path.name not in used:
          path.unlink()

  def _digest(self, place, leaf):
    """SHA-256 of a leaf; an array that was looked at isn't looked at again."""
    array, digest = self._seen.get(place, (None, ''))
    if array is not leaf:
      digest = _sha256(sharding.whole(leaf))
      self._seen[place] = leaf, digest
    return digest

  def _keep(self, digest, leaf):
    value, path = sharding.whole(leaf), self._folder / digest
    if files.is_first_process() and not path.is_file():
      with files.whole(path, sync=True) as part:
        part.write_bytes(value.tobytes())

  def _kept(self, place, digest, like):
    path = self._folder / digest
    try:
      content = path.read_bytes()
      value = np.frombuffer(content, like.dtype).reshape(like.shape)
    except (OSError, ValueError) as error:
      raise Changed(f'{path} of {place} cannot be read: {error}') from error
    return sharding.put(value, like.sharding)


def without(state: TrainState, record: Record) -> TrainState:
  """Returns the state without the leaves of a record.

  Raises:
    Changed: it has no such leaf.
  """
  places = _leaves(state.frozen)
  unknown = sorted(record.keys() - places.keys())
  if unknown:
    raise Changed(f'there is no frozen leaf {unknown[0]}')
  left = {
    place: leaf
    for place, leaf in tree.flatten(state.frozen).items()
    if place not in record
  }
  trees = {key: {} for key in state.frozen} | tree.unflatten(left)
  return state.replace(frozen=trees)


def read(folder: pathlib.Path) -> Record:
  """Returns the record of a checkpoint; {} of one that holds all its leaves.

  Raises:
    OSError, ValueError: it is damaged.
  """
  path = folder / FILE
  return json.loads(path.read_text()) if path.is_file() else {}


def _leaves(trees: Mapping[str, tree.Tree]) -> dict[str, Any]:
  """{place: array} of the frozen leaves that can stand elsewhere."""
  others = {key: x for key, x in trees.items() if key != 'opt_state'}
  return {
    place: leaf
    for place, leaf in tree.flatten(others).items()
    if not jnp.issubdtype(leaf.dtype, jax.dtypes.extended)
  }


def _leaves_of(reader: Reader) -> Mapping[str, Any]:
  """What a reader finds; {} if its folder is gone."""
  try:
    return reader()
  except (OSError, ValueError) as error:
    logging.info('a source of frozen leaves: %s', error)
    return {}


def _sha256(value: np.ndarray) -> str:
  flat = np.ascontiguousarray(value).reshape(-1)
  return hashlib.sha256(flat.view(np.uint8).data).hexdigest()
