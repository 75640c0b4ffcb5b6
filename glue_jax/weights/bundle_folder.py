"""The folder of a bundle: `bundle.json` and `leaves.safetensors`.

Written and read without the backbone; glue_jax/export/bundle.py puts the two
together.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from glue_jax.config import config
from glue_jax.reporting import files

RECORD, LEAVES = 'bundle.json', 'leaves.safetensors'
FORMAT = 1

# Before the names of what is neither learnt nor frozen.
EXTRA = 'extra/'


@dataclasses.dataclass(frozen=True)
class Bundle:
  """What a bundle's folder holds, checked against itself.

  Attributes:
    record: content of bundle.json.
    leaves: {name: array}.
  """

  record: dict[str, Any]
  leaves: dict[str, np.ndarray]

  @property
  def params(self) -> dict[str, np.ndarray]:
    """The leaves that are parameters."""
    return {n: x for n, x in self.leaves.items() if not n.startswith(EXTRA)}

  @property
  def extra(self) -> dict[str, np.ndarray]:
    """The other leaves, by the names they have in the state."""
    return {
      n.removeprefix(EXTRA): x
      for n, x in self.leaves.items()
      if n.startswith(EXTRA)
    }


def save(
  folder: str | os.PathLike,
  record: Mapping[str, Any],
  leaves: Mapping[str, Any],
) -> Bundle:
  """Writes a folder; `bundle.json` comes last, so one that has it is whole.

  Args:
    folder: made if needed.
    record: without 'format', 'leaves' and 'leaves_sha256', which are made here.
    leaves: {name: array}.
  """
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  (folder / RECORD).unlink(missing_ok=True)
  flat = {n: np.ascontiguousarray(x) for n, x in leaves.items()}
  with files.whole(folder / LEAVES) as part:
    safetensors.numpy.save_file(flat, part)
  record = dict(record) | {
    'format': FORMAT,
    'leaves': {n: [str(x.dtype), *x.shape] for n, x in sorted(flat.items())},
    'leaves_sha256': digest(flat),
  }
  text = json.dumps(config.plain(record), indent=2) + '\n'
  files.replace_text(folder / RECORD, text)
  return Bundle(json.loads(text), flat)


def read(folder: str | os.PathLike) -> Bundle:
  """Reads a bundle, without its backbone.

  Raises:
    ValueError: no bundle, another format, a damaged file, a missing or changed
      leaf, or a method that isn't known.
  """
  folder = pathlib.Path(folder)
  try:
    record = json.loads((folder / RECORD).read_text())
    leaves = safetensors.numpy.load_file(folder / LEAVES)
  except (OSError, ValueError, safetensors.SafetensorError) as error:
    raise ValueError(f'{folder} holds no whole bundle: {error}') from error
  if record.get('format') != FORMAT:
    raise ValueError(
      f'{folder}: bundle of format {record.get("format")!r}; this program '
      f'reads {FORMAT}'
    )
  kinds = {n: [str(x.dtype), *x.shape] for n, x in leaves.items()}
  lines = config.changes(record['leaves'], kinds)
  if lines:
    raise ValueError(
      f'{folder}: {LEAVES} is not what {RECORD} lists (listed -> found):\n  '
      + '\n  '.join(lines)
    )
  if digest(leaves) != record['leaves_sha256']:
    raise ValueError(
      f'{folder}: the values of {LEAVES} have another hash than {RECORD} says; '
      'the file was changed or damaged'
    )
  for name, _ in record['config']['methods']:
    try:
      config.module('methods', name, f'methods.{name}')
    except ValueError as error:
      raise ValueError(f'{folder}: unknown method {name!r}: {error}') from None
  return Bundle(record, leaves)


def digest(leaves: Mapping[str, Any]) -> str:
  """Returns the SHA-256 of names, types, shapes and values, sorted by name."""
  hasher = hashlib.sha256()
  for name, value in sorted(leaves.items()):
    value = np.ascontiguousarray(value)
    hasher.update(f'{name} {value.dtype} {value.shape}\n'.encode())
    hasher.update(value.tobytes())
  return hasher.hexdigest()


def same(a: np.ndarray, b: np.ndarray) -> bool:
  """Says whether two arrays are equal in type, shape and every bit."""
  kinds = (a.shape, a.dtype) == (b.shape, b.dtype)
  return kinds and a.tobytes() == b.tobytes()
