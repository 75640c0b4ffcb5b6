"""Tensors that are read a few rows at a time, so that merges fit in memory.

A merge is a function of lazy tensors that gives lazy tensors: nothing is read
until the result is written, chunk by chunk. So memory holds a few chunks,
whatever the size and number of the models, except where a method needs a whole
tensor (`Tensor.whole`).

The `safetensors` library reads slices but writes only whole dicts, so `write`
makes the file itself: eight bytes with the header's length, the header as JSON,
the tensors one after another (https://github.com/huggingface/safetensors).
"""

import dataclasses
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import safetensors

from glue_jax.reporting import files

# Elements of a chunk: 1 MB of float32, a few of which stay in a CPU's cache.
CHUNK = 2**18

# Types that are merged, in float32; tensors of other types are only copied.
MERGED = {
  'F32': np.dtype(np.float32),
  'F16': np.dtype(np.float16),
  'BF16': np.dtype(ml_dtypes.bfloat16),
}
COPIED = {
  'F64': np.dtype(np.float64),
  'BOOL': np.dtype(np.bool_),
  **{f'I{8 * n}': np.dtype(f'i{n}') for n in (1, 2, 4, 8)},
  **{f'U{8 * n}': np.dtype(f'u{n}') for n in (1, 2, 4, 8)},
}


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
  """A tensor whose values are read when they are asked for.

  Attributes:
    shape: its shape.
    dtype: its type's name in safetensors files ('F32').
    where: file and name, for errors.
    read: `read(start, stop)` returns rows start to stop of the first axis, in
      float32 if the type is one of MERGED. A scalar is one row, of shape ().
    whole: reading a part costs as much as reading all.
  """

  shape: tuple[int, ...]
  dtype: str
  where: str
  read: Callable[[int, int], np.ndarray]
  whole: bool = False

  @property
  def rows(self) -> int:
    """Length of the first axis; 1 for a scalar."""
    return self.shape[0] if self.shape else 1

  @property
  def row_size(self) -> int:
    """Elements of a row."""
    return int(np.prod(self.shape[1:], dtype=np.int64))

  def spans(self) -> Iterator[tuple[int, int]]:
    """Yields (start, stop) of rows that make a chunk each."""
    step = max(1, CHUNK // max(self.row_size, 1))
    step = max(self.rows, 1) if self.whole else step
    for start in range(0, self.rows, step):
      yield start, min(start + step, self.rows)

  def chunks(self) -> Iterator[np.ndarray]:
    """Yields the whole tensor chunk by chunk."""
    return (self.read(*span) for span in self.spans())

  def array(self) -> np.ndarray:
    """Returns all values."""
    return self.read(0, self.rows)


@dataclasses.dataclass(frozen=True, eq=False)
class Weights:
  """The tensors of one model.

  Attributes:
    name: of the model; its random masks depend on it.
    where: file or folder, for errors.
    tensors: {name: Tensor}.
  """

  name: str
  where: str
  tensors: Mapping[str, Tensor]

  def select(self, names: Sequence[str]) -> 'Weights':
    """Returns the same model with these tensors only."""
    chosen = {name: self.tensors[name] for name in names}
    return dataclasses.replace(self, tensors=chosen)


def from_arrays(arrays: Mapping[str, Any], name: str = 'model') -> Weights:
  """Returns arrays in memory as a model."""
  tensors = {}
  for key, value in arrays.items():
    array = np.asarray(value, np.float32)
    where = f'{name}: tensor {key}'

    def read(start, stop, array=array, where=where):
      return finite(array[start:stop] if array.ndim else array, where)

    tensors[key] = Tensor(array.shape, 'F32', where, read)
  return Weights(name, name, tensors)


def to_arrays(weights: Weights) -> dict[str, np.ndarray]:
  """Reads a whole model: {name: float32 array}."""
  arrays = {}
  for name, tensor in weights.tensors.items():
    parts = list(tensor.chunks())
    arrays[name] = (
      np.concatenate(parts) if tensor.shape and parts else tensor.array()
    )
  return arrays


def open_files(paths: Sequence[str | os.PathLike]) -> dict[str, Tensor]:
  """Opens safetensors files: {tensor name: Tensor}, values unread.

  Raises:
    ValueError: a file is damaged, or a name is in two files. Reading a tensor
      raises it if a value isn't finite.
  """
  tensors = {}
  for path in paths:
    try:
      file = safetensors.safe_open(path, 'numpy')
    except (safetensors.SafetensorError, OSError) as error:
      raise ValueError(f'{path} cannot be read: {error}') from None
    for name in file.keys():  # noqa: SIM118 - not a mapping
      if name in tensors:
        raise ValueError(f'{path}: tensor {name} is also in another file')
      tensors[name] = _file_tensor(path, file, name)
  return tensors


def transposed(tensor: Tensor) -> Tensor:
  """Returns a matrix with its axes swapped; its rows are the file's columns."""
  rows, columns = tensor.shape
  find = getattr(tensor.read, 'columns', None)
  read = find or (lambda start, stop: tensor.array().T[start:stop])
  return dataclasses.replace(tensor, shape=(columns, rows), read=read)


def in_order(tensor: Tensor, order: Sequence[int], axis: int) -> Tensor:
  """Returns a tensor whose places along an axis stand in another order."""
  return dataclasses.replace(
    tensor,
    read=lambda start, stop: tensor.array().take(order, axis)[start:stop],
    whole=True,
  )


class _FileReader:
  """Reads rows, or columns as rows, of a tensor in an open file."""

  def __init__(self, where, file, name, shape, dtype):
    self._where, self._file, self._name = where, file, name
    self._shape, self._float = shape, dtype in MERGED

  def __call__(self, start: int, stop: int) -> np.ndarray:
    if not self._shape:
      return self._checked(self._file.get_tensor(self._name))
    return self._checked(self._file.get_slice(self._name)[start:stop])

  def columns(self, start: int, stop: int) -> np.ndarray:
    return self._checked(self._file.get_slice(self._name)[:, start:stop].T)

  def _checked(self, value: np.ndarray) -> np.ndarray:
    if not self._float:
      return value
    # A scalar leaves `ascontiguousarray` with one axis.
    flat = np.ascontiguousarray(value).astype(np.float32, copy=False)
    return finite(flat.reshape(value.shape), self._where)


def _file_tensor(path, file, name) -> Tensor:
  info = file.get_slice(name)
  shape, dtype = tuple(info.get_shape()), info.get_dtype()
  where = f'{path}: tensor {name}'
  return Tensor(
    shape, dtype, where, _FileReader(where, file, name, shape, dtype)
  )


def finite(values: np.ndarray, where: str) -> np.ndarray:
  """Returns the values.

  Raises:
    ValueError: one of them is NaN or infinite.
  """
  good = np.isfinite(values)
  if not good.all():
    raise ValueError(
      f'{where} holds {np.count_nonzero(~good)} values that are NaN or '
      'infinite; a merge would spread them, so nothing was merged'
    )
  return values


def shared_names(
  models: Sequence[Weights],
  base: Weights | None = None,
  exclude: Sequence[str] = (),
) -> list[str]:
  """Returns the sorted names of the tensors that are merged.

  Those are the floating-point tensors of the models that no pattern matches.

  Args:
    models: what is merged.
    base: what they were trained from, where the method needs it; tensors that
      only the base has don't matter.
    exclude: regular expressions, matched at the start of the name (`re.match`,
      as in the official code).

  Raises:
    ValueError: a tensor is missing, has another shape, or a type that can't be
      merged; the message names file and tensor.
  """
  first = models[0]
  names = [n for n in first.tensors if not excluded(n, exclude)]
  names = [n for n in names if first.tensors[n].dtype[0] in 'FB']
  names = sorted(n for n in names if first.tensors[n].dtype != 'BOOL')
  if not names:
    raise ValueError(f'{first.where}: no tensor is left to be merged')
  for name in names:
    tensor = first.tensors[name]
    if tensor.dtype not in MERGED:
      raise ValueError(
        f'{tensor.where} is of type {tensor.dtype}; expected one of '
        f'{sorted(MERGED)}: convert it'
      )
  for other in [*models[1:], *([base] if base else [])]:
    _compare(first, other, names)
    if other is not base:
      more = [n for n in other.tensors if n not in first.tensors]
      more = [n for n in more if not excluded(n, exclude)]
      if more:
        raise ValueError(
          f'{first.where} has no tensor {more[0]}, which '
          f'{other.tensors[more[0]].where} is: the models differ in their '
          'architecture; only models of one architecture can be merged '
          '(tensors that each model keeps are named by --exclude)'
        )
  return names


def _compare(first: Weights, other: Weights, names: Sequence[str]) -> None:
  for name in names:
    ours, theirs = first.tensors[name], other.tensors.get(name)
    if theirs is None:
      raise ValueError(
        f'{other.where} has no tensor {name}, which {first.where} has with '
        f'shape {ours.shape}: it is incomplete or of another architecture'
      )
    if theirs.shape != ours.shape:
      hint = 'another architecture'
      table = 'embed' in name and len(ours.shape) == 2
      if table and ours.shape[1:] == theirs.shape[1:]:
        hint = (
          'another vocabulary (extend the smaller table, that of the base '
          'too, before merging) or another number of positions'
        )
      raise ValueError(
        f'{theirs.where} has shape {theirs.shape}, but {ours.where} has '
        f'{ours.shape}: {hint}'
      )
    if theirs.dtype not in MERGED:
      raise ValueError(
        f'{theirs.where} is of type {theirs.dtype}; expected one of '
        f'{sorted(MERGED)}: convert it'
      )


def excluded(name: str, patterns: Sequence[str]) -> bool:
  """Says whether a pattern matches at the start of the name."""
  return any(re.match(pattern, name) for pattern in patterns)


def write(
  path: str | os.PathLike,
  tensors: Mapping[str, Tensor],
  metadata: Mapping[str, str] | None = None,
) -> None:
  """Writes a safetensors file chunk by chunk, replaced in one move.

  Values are rounded to each tensor's type once, here.

  Raises:
    ValueError: a value is too large for its type.
    OSError: the file can't be written.
  """
  types = MERGED | COPIED
  # Wide types first keeps every tensor aligned.
  order = sorted(tensors, key=lambda n: (-types[tensors[n].dtype].itemsize, n))
  header: dict[str, Any] = {'__metadata__': dict(metadata)} if metadata else {}
  end = 0
  for name in order:
    t = tensors[name]
    size = t.row_size * t.rows * types[t.dtype].itemsize
    header[name] = {
      'dtype': t.dtype,
      'shape': list(t.shape),
      'data_offsets': [end, end + size],
    }
    end += size
  text = json.dumps(header, separators=(',', ':')).encode()
  text += b' ' * (-len(text) % 8)
  with files.whole(path) as part, part.open('wb') as file:
    file.write(len(text).to_bytes(8, 'little') + text)
    for name in order:
      _write_values(file, tensors[name], types)


def _write_values(file, tensor, types) -> None:
  # A function, so that nothing of a tensor is left when the next one is read.
  for chunk in tensor.chunks():
    value = np.ascontiguousarray(_rounded(chunk, tensor, types))
    file.write(value.reshape(-1).view(np.uint8))


def _rounded(chunk, tensor, types) -> np.ndarray:
  if tensor.dtype == 'F32' or tensor.dtype not in MERGED:
    return chunk
  with np.errstate(over='ignore'):
    value = chunk.astype(types[tensor.dtype])
  if not np.isfinite(value.astype(np.float32)).all():
    raise ValueError(
      f'{tensor.where}: the merged value is too large for {tensor.dtype}'
    )
  return value
