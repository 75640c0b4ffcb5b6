"""Writes a safetensors file tensor by tensor.

The library's own writer wants all tensors in memory at once. The bytes are the
same (format: https://github.com/huggingface/safetensors): the length of the
header, the header as JSON, the values in its order.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

# In the library's order: larger ones stand first in a file, which aligns all.
_TYPES = {
  'bool': 'BOOL', 'uint8': 'U8', 'int8': 'I8', 'int16': 'I16', 'uint16': 'U16',
  'float16': 'F16', 'bfloat16': 'BF16', 'int32': 'I32', 'uint32': 'U32',
  'float32': 'F32', 'float64': 'F64', 'int64': 'I64', 'uint64': 'U64',
}  # fmt: skip
_RANK = {name: i for i, name in enumerate(_TYPES)}


def order(tensors: Mapping[str, Any]) -> list[str]:
  """Returns the names in the order in which their values are read."""

  def place(name):
    return -_RANK[np.dtype(tensors[name].dtype).name], name

  unknown = {np.dtype(x.dtype).name for x in tensors.values()} - _RANK.keys()
  if unknown:
    raise ValueError(
      f'a safetensors file has no type {sorted(unknown)}; it has {list(_TYPES)}'
    )
  return sorted(tensors, key=place)


def write(
  path: str | os.PathLike,
  tensors: Mapping[str, Any],
  metadata: Mapping[str, str] | None = None,
) -> None:
  """Writes a file.

  Args:
    path: of the file.
    tensors: {name: array, or `tree.Unread`}; each is on the host only while it
      is written.
    metadata: of the whole file.

  Raises:
    ValueError: a type that the format doesn't have.
    OSError: it could not be written.
  """
  header: dict[str, Any] = {'__metadata__': dict(metadata)} if metadata else {}
  names, end = order(tensors), 0
  for name in names:
    shape, dtype = tensors[name].shape, np.dtype(tensors[name].dtype)
    start, end = end, end + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    header[name] = {
      'dtype': _TYPES[dtype.name],
      'shape': list(shape),
      'data_offsets': [start, end],
    }
  text = json.dumps(header, separators=(',', ':'), ensure_ascii=False).encode()
  text += b' ' * (-len(text) % 8)
  with open(path, 'wb') as file:
    file.write(len(text).to_bytes(8, 'little') + text)
    for name in names:
      value = np.ascontiguousarray(np.asarray(tensors[name]))
      file.write(value.reshape(-1).view(np.uint8).data)
