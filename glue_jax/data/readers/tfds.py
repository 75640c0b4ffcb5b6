"""Prepared tensorflow-datasets folders, read and written without TensorFlow.

Only the `array_record` format can be read without TensorFlow, so `prepare`
writes it. TFDS shuffles every split by a hash of the key: rows are sorted by
idx here, which is the order of the raw file. Neither importing this module
nor reading a folder touches the network.
"""

import importlib
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from glue_jax.data.readers import json_text, raw_files
from glue_jax.data.readers.files import Record
from glue_jax.data.tasks.task import Task

_BUILDERS = {
  'glue': ('tensorflow_datasets.text.glue', 'Glue'),
  'squad': (
    'tensorflow_datasets.datasets.squad.squad_dataset_builder',
    'Builder',
  ),
}
_FORMAT = 'array_record'
# A folder that is there is taken as it is by a second preparation.
_AGAIN = (
  'remove its folder and prepare it again: `python -m launch.data prepare`'
)


def find(task: Task, data_dir: pathlib.Path) -> pathlib.Path | None:
  """The newest prepared folder of a task under data_dir, if there is one."""
  if (data_dir / 'dataset_info.json').is_file():
    return data_dir
  if not task.tfds:
    return None
  # Not 2.0.0.incompleteABC123, which a killed preparation leaves.
  folders = [
    path.parent
    for path in data_dir.glob(f'{task.tfds}/*/dataset_info.json')
    if re.fullmatch(r'\d+\.\d+\.\d+', path.parent.name)
  ]
  return max(folders, key=lambda folder: _version(folder.name), default=None)


def _version(name: str) -> tuple[int, ...]:
  return tuple(map(int, name.split('.')))


def read(folder: pathlib.Path, split: str) -> Iterator[tuple[int, Record]]:
  """Yields (number, record) in the order of idx, texts decoded.

  Raises:
    ValueError: another file format, or no such split.
  """
  info = _info(folder)
  entries = {entry['name']: entry for entry in info.get('splits', ())}
  if split not in entries:
    raise ValueError(f'{folder}: no split {split!r}; it has {[*entries]}')
  records = _records(folder, split, entries[split])
  if records and 'idx' in records[0]:
    records.sort(key=lambda record: record['idx'])
  yield from enumerate(records, 1)


def _info(folder: pathlib.Path) -> dict[str, Any]:
  path = folder / 'dataset_info.json'
  try:
    info = json_text.loads(path.read_text())
  except ValueError as error:
    raise ValueError(f'{path}: not JSON ({error}); {_AGAIN}') from None
  if info.get('fileFormat') != _FORMAT:
    raise ValueError(
      f'{folder}: prepared as {info.get("fileFormat")!r}, which needs '
      f'TensorFlow to read; {_AGAIN} writes {_FORMAT}'
    )
  return info


def _records(folder, split, entry) -> list[Record]:
  """The records of a split, of every shard that there must be.

  Raises:
    ValueError: a shard is missing, damaged, or of another length.
  """
  import tensorflow_datasets as tfds  # slow, so only where it is needed

  builder = tfds.builder_from_directory(folder)
  paths = [pathlib.Path(p) for p in builder.info.splits[split].filepaths]
  for path, length in zip(paths, map(int, entry.get('shardLengths', ()))):
    _check_shard(path, length)
  try:
    source = builder.as_data_source(split=split)
    return [_plain(record) for record in source]
  except Exception as error:  # of the C++ reader: no type of its own
    text = str(error).splitlines()[0] if str(error) else repr(error)
    raise ValueError(
      f'{paths[0]}: a damaged file of split {split!r} ({text}); {_AGAIN}'
    ) from error


def _check_shard(path: pathlib.Path, length: int) -> None:
  """Raises ValueError if a file isn't there or holds another number."""
  from array_record.python import array_record_module

  if not path.is_file():
    raise ValueError(f'{path} is missing; {_AGAIN}')
  # 0 of a file that was cut: the count stands at its end.
  found = array_record_module.ArrayRecordReader(str(path)).num_records()
  if found != length:
    raise ValueError(
      f'{path}: {found} records can be read, dataset_info.json says {length}; '
      f'{_AGAIN}'
    )


def _plain(value: Any) -> Any:
  if isinstance(value, dict):
    return {key: _plain(item) for key, item in value.items()}
  if isinstance(value, bytes):
    return value.decode()
  if hasattr(value, 'tolist'):
    return _plain(value.tolist())
  return [_plain(item) for item in value] if isinstance(value, list) else value


def counts(folder: pathlib.Path) -> dict[str, int]:
  """{split: rows} of a prepared folder, as it says itself."""
  return {
    entry['name']: sum(map(int, entry.get('shardLengths', ())))
    for entry in _info(folder).get('splits', ())
  }


def prepare(
  task: Task, data_dir: pathlib.Path, source: pathlib.Path | None = None
) -> pathlib.Path:
  """Runs the task's own TFDS builder and writes array_record files.

  Args:
    task: a task with a TFDS name.
    data_dir: root of the prepared folders.
    source: folder with the raw files, one folder a task as in the zips that
      the builder downloads (CoLA/train.tsv, ...); None = they are fetched, to
      `downloads` in data_dir.

  Returns:
    The prepared folder.

  Raises:
    ValueError: the task is not in TFDS, or the network doesn't give what is on
      record.
    FileNotFoundError: `source` lacks a file which the builder asks for.
    OSError: it can't be written.
  """
  if not task.tfds:
    raise ValueError(
      f'task {task.name!r} is not in tensorflow-datasets; its files are read '
      f'as they are'
    )
  group, config = task.tfds.split('/')
  if group not in _BUILDERS:
    raise ValueError(
      f'{task.tfds}: only builders of {", ".join(_BUILDERS)} run without '
      'TensorFlow; prepare it where that is, with file_format="array_record"'
    )
  module, name = _BUILDERS[group]
  make = getattr(importlib.import_module(module), name)
  builder = make(config=config, data_dir=data_dir, file_format=_FORMAT)
  manager: Any = raw_files.Network(data_dir / 'downloads', group)
  if source is not None:
    manager = raw_files.Local(source, task)
  # Theirs needs TensorFlow.
  builder._make_download_manager = lambda **_: manager
  try:
    builder.download_and_prepare()
  except OSError as error:
    if error.errno is not None:  # of the disk, not with words of ours
      error.filename = error.filename or str(data_dir)
    raise
  return pathlib.Path(builder.data_dir)
