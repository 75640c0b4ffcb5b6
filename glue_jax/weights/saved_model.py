"""A finished model as a folder: `model.json` and `params.safetensors`.

Leaves of a method that could not be merged stand in `unmerged.safetensors`.

Every run writes one (`<workdir>/model`), whatever its architecture; the Hugging
Face form, for those that have one, is made by `launch.export`.
"""

import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from glue_jax import tree
from glue_jax.models import model as models
from glue_jax.reporting import files
from glue_jax.weights import run_folder, safetensors_file

MODEL, PARAMS = 'model.json', 'params.safetensors'
UNMERGED = 'unmerged.safetensors'


def save(
  folder: str | os.PathLike,
  module: Any,
  params: tree.Tree,
  unmerged: Mapping[str, Any] | None = None,
  labels: Sequence[str] | None = None,
  vocabulary: str | None = None,
) -> None:
  """Writes a model; `model.json` comes last, so a folder that has it is whole.

  Args:
    folder: made if missing.
    module: a `Model`.
    params: its tree, on the host, fully addressable or unread; of an unread
      leaf only one is on the host at a time.
    unmerged: {name: leaf} of a method (an adapter) that the plain module
      doesn't have; without the method the model isn't complete.
    labels: names of the classes in the order of the head's rows, () for a head
      without any; None = not known.
    vocabulary: hash of the tokens that its ids stand for, see
      `vocabulary.digest`; None = not known.
  """
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  unmerged = unmerged or {}
  for file, leaves in (
    (PARAMS, tree.flatten(params)),
    *([(UNMERGED, unmerged)] if unmerged else []),
  ):
    with files.whole(folder / file) as part:
      safetensors_file.write(part, leaves)
  record = {
    'family': module.family,
    'kind': module.kind,
    'num_outputs': module.num_outputs,
    'unmerged': sorted(unmerged),
    'labels': None if labels is None else list(labels),
    'vocabulary_sha256': vocabulary,
    'config': dataclasses.asdict(module.config),
  }
  files.replace_text(folder / MODEL, json.dumps(record, indent=2) + '\n')


def read_along(params: tree.Tree, unmerged: Mapping[str, Any]) -> None:
  """Reads what `save` reads, in its order, and keeps nothing.

  Where reading a leaf gathers it from the devices of several processes, all of
  them must read it; one of them saves.

  Args:
    params, unmerged: as they are given to `save`.
  """
  for leaves in (tree.flatten(params), unmerged):
    for name in safetensors_file.order(leaves):
      np.asarray(leaves[name])


def find(source: str | os.PathLike) -> pathlib.Path:
  """Returns the model folder of a source: itself, or that of the run in it.

  Raises:
    ValueError: a workdir of several runs, or of one that has not ended.
  """
  folder = pathlib.Path(source)
  if (folder / MODEL).is_file():
    return folder
  if not run_folder.is_workdir(folder):
    inner = folder / 'model'
    return inner if (inner / MODEL).is_file() else folder
  inner = run_folder.one(folder).path / 'model'
  if not (inner / MODEL).is_file():
    raise ValueError(
      f'{inner.parent} holds no finished model: its run has not ended'
    )
  return inner


def read_record(source: str | os.PathLike) -> dict[str, Any] | None:
  """Returns model.json of a source, its config built; None if it has none."""
  path = find(source) / MODEL
  if not path.is_file():
    return None
  record = json.loads(path.read_text())
  fields = {k: models.freeze(v) for k, v in record['config'].items()}
  return record | {'config': models.EncoderConfig(**fields)}


def load(
  source: str | os.PathLike, unread: bool = False
) -> tuple[Any, tree.Tree]:
  """Returns (Model, params) of a folder written by `save`.

  Args:
    source: the folder, or a workdir.
    unread: see `load_whole`.

  Raises:
    ValueError: see `load_whole`; or the model isn't complete without the
      leaves of a method.
  """
  record = read_record(source)
  if record and record['unmerged']:
    raise ValueError(
      f'{source} is no plain model: its method added leaves that were not '
      f'merged, {record["unmerged"][:4]} ...; evaluate or go on in the workdir '
      'itself, or export it with launch.export --format=stablehlo'
    )
  record, params = load_whole(source, unread)
  module = models.build(
    record['family'],
    kind=record['kind'],
    num_outputs=record['num_outputs'],
    config=record['config'],
  )
  return module, params


def load_whole(
  source: str | os.PathLike, unread: bool = False
) -> tuple[dict[str, Any], tree.Tree]:
  """Returns (model.json, params with the leaves of methods) of a folder.

  Args:
    source: the folder, or a workdir.
    unread: leave the values in the files (`tree.Unread`), but for the head's.

  Raises:
    ValueError: no folder that `save` has finished, or a file is damaged.
  """
  record = read_record(source)
  if record is None:
    raise ValueError(
      f'{source} holds no finished model: expected {MODEL} there or in its '
      'folder model/'
    )
  flat: dict[str, Any] = {}
  for file in (PARAMS, *([UNMERGED] if record['unmerged'] else [])):
    path = find(source) / file
    try:
      flat |= _leaves(path, unread)
    except (OSError, safetensors.SafetensorError) as error:
      raise ValueError(f'{path} cannot be read: {error}') from error
  return record, tree.unflatten(flat)


def _leaves(path: pathlib.Path, unread: bool) -> dict[str, Any]:
  if not unread:
    return dict(safetensors.numpy.load_file(path))

  def read(name):
    with safetensors.safe_open(path, 'numpy') as file:
      return file.get_tensor(name)

  leaves = {}
  with safetensors.safe_open(path, 'numpy') as file:
    for name in file.keys():  # noqa: SIM118 - not a mapping
      part = file.get_slice(name)
      if name.startswith('head/') or part.get_dtype() != 'F32':
        leaves[name] = file.get_tensor(name)
        continue
      later = functools.partial(read, name)
      shape = tuple(part.get_shape())
      leaves[name] = tree.Unread(shape, np.dtype(np.float32), later)
  return leaves
