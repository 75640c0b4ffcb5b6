"""GGUF files: metadata and tensors, whose values become float32.

The format of ggml and llama.cpp, versions 2 and 3 (its specification:
docs/gguf.md of ggml-org/ggml), little-endian. Values are read from the disk
when they are asked for. How each type is stored: gguf_blocks.py.
"""

import dataclasses
import functools
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from glue_jax.data.readers import gguf_blocks

SUFFIX = '.gguf'
_MAGIC = b'GGUF'
_VERSIONS = (2, 3)
# Types of metadata: of struct, or these two.
_SCALARS = dict(enumerate('BbHhIif?')) | {10: 'Q', 11: 'q', 12: 'd'}
_TEXT, _ARRAY = 8, 9


@dataclasses.dataclass(frozen=True)
class Tensor:
  """A tensor of a file, its values unread.

  Attributes:
    path: the file.
    shape: the last dimension is contiguous, as in numpy.
    type: key of `gguf_blocks.BLOCKS`.
    start: its first byte in the file.
  """

  path: Path
  shape: tuple[int, ...]
  type: str
  start: int

  @property
  def nbytes(self) -> int:
    """Bytes in the file."""
    block = gguf_blocks.BLOCKS[self.type]
    return int(np.prod(self.shape)) // block.values * block.nbytes

  def read(self) -> np.ndarray:
    """Returns its values, float32 in its shape."""
    block = gguf_blocks.BLOCKS[self.type]
    stored = np.fromfile(self.path, np.uint8, self.nbytes, offset=self.start)
    values = block.values_of(stored.reshape(-1, block.nbytes))
    return values.astype(np.float32, copy=False).reshape(self.shape)


@dataclasses.dataclass(frozen=True)
class File:
  """What a GGUF file says of itself.

  Attributes:
    path: the file.
    metadata: {key: number, text, bool, array of numbers or list of texts}.
    tensors: {name: tensor}.
  """

  path: Path
  metadata: Mapping[str, Any]
  tensors: Mapping[str, Tensor]

  def get(self, key: str, default: Any = None) -> Any:
    """Returns a value of the metadata; no default: it must be there.

    Raises:
      ValueError: it isn't, and there is no default.
    """
    if key not in self.metadata and default is None:
      raise ValueError(f'{self.path}: its metadata lacks {key}')
    return self.metadata.get(key, default)


def find(source: str | os.PathLike) -> Path | None:
  """Returns the GGUF file that a source is or holds; None if it does not.

  A folder with a config.json is one of Hugging Face, whatever else it holds.

  Args:
    source: a file, or a folder.

  Raises:
    FileNotFoundError: the name of such a file, which isn't there.
    ValueError: a folder with several.
  """
  path = Path(source).expanduser()
  if path.suffix == SUFFIX and not path.is_dir():
    if not path.is_file():
      raise FileNotFoundError(f'{path} not found')
    return path
  if not path.is_dir() or (path / 'config.json').is_file():
    return None
  files = sorted(path.glob(f'*{SUFFIX}'))
  if len(files) > 1:
    names = [file.name for file in files]
    raise ValueError(
      f'{path} has several GGUF files, {names}; give one of them'
    )
  return files[0] if files else None


def read(path: str | os.PathLike) -> File:
  """Reads all but the values.

  Raises:
    ValueError: it is no GGUF file, of another version, truncated, or has a
      tensor of a type that isn't read here.
  """
  path = Path(path)
  stat = path.stat()
  return _read(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=2)
def _read(path: Path, size: int, _changed: int) -> File:
  if not size:
    raise ValueError(f'{path} is empty; fetch it again')
  header = _Header(path, np.memmap(path, np.uint8, 'r'))
  magic = bytes(header.data[:4])
  if magic != _MAGIC:
    raise ValueError(
      f'{path} starts with {magic!r}, a GGUF file with {_MAGIC!r}'
    )
  header.place = 4
  version = header.number('I')
  if version not in _VERSIONS:
    raise ValueError(
      f'{path}: GGUF version {version}; read here are {list(_VERSIONS)}, '
      'little-endian'
    )
  tensors, keys = header.number('Q'), header.number('Q')
  metadata = {
    header.text(): header.value(header.number('I')) for _ in range(keys)
  }
  rows = [header.tensor() for _ in range(tensors)]
  step = metadata.get('general.alignment', 32)
  first = -(-header.place // step) * step
  found = {}
  for name, shape, kind, offset in rows:
    found[name] = tensor = Tensor(path, shape, kind, first + offset)
    if tensor.start + tensor.nbytes > size:
      raise ValueError(
        f'{path} is truncated: {name} ends at byte '
        f'{tensor.start + tensor.nbytes}, the file at {size}; fetch it again'
      )
  return File(path, metadata, found)


class _Header:
  """Reads a file's numbers and texts one after another."""

  def __init__(self, path: Path, data: np.ndarray):
    self.path, self.data, self.place = path, data, 0

  def taken(self, count: int) -> np.ndarray:
    start, self.place = self.place, self.place + count
    if self.place > len(self.data):
      raise ValueError(
        f'{self.path} is truncated or damaged: its header ends after its '
        f'{len(self.data)} bytes; fetch it again'
      )
    return self.data[start : self.place]

  def number(self, code: str) -> Any:
    code = f'<{code}'
    return struct.unpack(code, bytes(self.taken(struct.calcsize(code))))[0]

  def text(self) -> str:
    return bytes(self.taken(self.number('Q'))).decode('utf-8', 'replace')

  def value(self, kind: int) -> Any:
    if kind == _TEXT:
      return self.text()
    if kind == _ARRAY:
      kind, count = self.number('I'), self.number('Q')
      if kind not in _SCALARS:
        return [self.value(kind) for _ in range(count)]
      dtype = np.dtype(f'<{_SCALARS[kind]}')
      return self.taken(count * dtype.itemsize).view(dtype)
    if kind not in _SCALARS:
      raise ValueError(f'{self.path}: metadata of type {kind} is not known')
    return self.number(_SCALARS[kind])

  def tensor(self) -> tuple[str, tuple[int, ...], str, int]:
    """(name, shape, type, offset) of the next tensor."""
    name, rank = self.text(), self.number('I')
    shape = tuple(self.number('Q') for _ in range(rank))[::-1]
    number, offset = self.number('I'), self.number('Q')
    kind = gguf_blocks.NAMES.get(number, f'number {number}')
    block = gguf_blocks.BLOCKS.get(kind)
    if block is None:
      raise ValueError(
        f'{self.path}: {name} is of type {kind}, which is not read here; there '
        f'are {sorted(gguf_blocks.BLOCKS)}'
      )
    if not shape or shape[-1] % block.values:
      raise ValueError(
        f'{self.path}: {name} has the shape {shape}; {kind} stores '
        f'{block.values} values at a time'
      )
    return name, shape, kind, offset
