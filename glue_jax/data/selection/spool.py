"""What a selection on one machine keeps on disk, and fills piece by piece.

The scan leaves the buckets of every n-gram (2 bytes each), so that nothing is
split or hashed twice. All is read and written by blocks: memory doesn't grow
with the number of documents.
"""

import dataclasses
import os
import pathlib
from typing import Any

import numpy as np

from glue_jax.data.selection import corpus_files, dsir, pieces
from glue_jax.data.selection import run as selection_run

_GRAMS = 1 << 20  # n-grams weighed at a time


class Column:
  """An array in a file, read and written by slices.

  Not a memory map: its pages would count as memory of the process.

  Args:
    path: the file; made, with zeros, if it isn't there.
    dtype: of the elements.
    shape: (N,) or (N, T).
  """

  def __init__(self, path: str | os.PathLike, dtype: Any, shape: tuple):
    self.path, self.dtype, self.shape = str(path), np.dtype(dtype), shape
    self._row = self.dtype.itemsize * int(np.prod(shape[1:], dtype=int))
    if not os.path.exists(path):
      with open(path, 'wb') as file:
        file.truncate(shape[0] * self._row)

  def __len__(self) -> int:
    return self.shape[0]

  def __getitem__(self, where: slice) -> np.ndarray:
    start, stop, _ = where.indices(len(self))
    with open(self.path, 'rb') as file:
      file.seek(start * self._row)
      data = file.read((stop - start) * self._row)
    # A copy: what frombuffer gives can't be written to.
    return np.frombuffer(data, self.dtype).reshape(-1, *self.shape[1:]).copy()

  def __setitem__(self, where: slice, values: np.ndarray) -> None:
    start, stop, _ = where.indices(len(self))
    values = np.ascontiguousarray(values, self.dtype)
    if values.shape != (stop - start, *self.shape[1:]):
      raise ValueError(f'{values.shape} for {stop - start} rows')
    with open(self.path, 'r+b') as file:
      file.seek(start * self._row)
      file.write(values.data)


@dataclasses.dataclass(frozen=True)
class Spool:
  """Files of one piece in the work folder: what the scan found.

  `ids` (buckets of n-grams), `sizes` (n-grams of a document), `valid`,
  `checks` (CRC-32 of a line), `names` (64 bits of the hash of an own id).
  """

  folder: str
  piece: int
  buckets: int

  def dtype(self, name: str) -> np.dtype:
    """Type of the elements of a file."""
    small = np.uint16 if self.buckets <= 1 << 16 else np.uint32
    types = {'ids': small, 'valid': np.uint8, 'names': np.uint64}
    return np.dtype(types.get(name, np.uint32))

  def path(self, name: str) -> pathlib.Path:
    """Path of a file."""
    return pathlib.Path(self.folder) / f'{self.piece:05d}.{name}'

  def read(self, name: str, start: int = 0, count: int = -1) -> np.ndarray:
    """`count` elements from `start`; -1: to the end."""
    dtype = self.dtype(name)
    with self.path(name).open('rb') as file:
      file.seek(start * dtype.itemsize)
      return np.fromfile(file, dtype, count)


def scan_piece(
  piece: corpus_files.Piece, settings: pieces.Settings, spool: Spool
) -> pieces.Totals:
  """Scans a piece into its spool; returns the sums over it."""
  add = pieces.Adder(piece, settings)
  names = ('ids', 'sizes', 'valid', 'checks', 'names')
  # Opened anew: what a killed worker left is overwritten.
  outputs = {name: spool.path(name).open('wb') for name in names}
  try:
    for part in pieces.scan(piece, settings):
      add(part)
      batch = part.batch
      columns = (
        part.ids,
        part.sizes,
        part.valid,
        batch.checks,
        [selection_run.name_hash(name) for name in batch.names],
      )
      for name, values in zip(names, columns):
        outputs[name].write(np.asarray(values, spool.dtype(name)).data)
  finally:
    for file in outputs.values():
      file.close()
  return add.totals


def weigh_piece(
  spool: Spool, log_diff: np.ndarray, first: int, weights: Column
) -> None:
  """Writes the log weights of a piece's documents, of ids from `first`."""
  for start, sizes, ids in _features(spool):
    place = first + start
    weights[place : place + len(sizes)] = dsir.log_weights(ids, sizes, log_diff)


def _features(spool: Spool):
  """Yields (first document, sizes, ids) of runs of a piece's documents."""
  sizes = spool.read('sizes').astype(np.int64)
  ends = np.cumsum(sizes)
  start = read = 0
  while start < len(sizes):
    stop = max(start + 1, int(np.searchsorted(ends, read + _GRAMS, 'right')))
    count = int(ends[stop - 1]) - read
    yield start, sizes[start:stop], spool.read('ids', read, count)
    start, read = stop, read + count


def describe_piece(
  spool: Spool,
  settings: pieces.Settings,
  first: int,
  weights: Column,
  sets: dict[str, Column],
) -> dict[str, np.ndarray]:
  """Figure vectors of each set of documents, summed over a piece."""
  sums: dict[str, np.ndarray] = {}
  for start, sizes, ids in _features(spool):
    block = slice(first + start, first + start + len(sizes))
    best = weights[block].max(1)
    for name, column in sets.items():
      vector = pieces.figure_vector(
        (ids, sizes), best, column[block] > 0, settings
      )
      sums[name] = sums.get(name, 0) + vector
  return sums


def write_piece(
  place: selection_run.Place,
  run: selection_run.Run,
  spool: Spool,
  columns: tuple[Column, Column],
  names: tuple[str, str],
) -> None:
  """Writes the selected documents of a piece to two files."""
  weights, taken = columns
  block = slice(place.first, place.first + place.documents)
  chosen = pieces.Chosen(
    place.piece,
    place.first,
    place.line,
    taken[block],
    weights[block],
    spool.read('checks'),
  )
  with open(names[0], 'wb') as texts, open(names[1], 'wb') as table:
    pieces.write(chosen, run.settings.documents, run.form, texts, table)


class Zeros:
  """Weights of a random draw: zeros of a shape (N, T)."""

  def __init__(self, shape: tuple):
    self.shape = shape

  def __getitem__(self, where: slice) -> np.ndarray:
    start, stop, _ = where.indices(self.shape[0])
    return np.zeros((stop - start, *self.shape[1:]))
