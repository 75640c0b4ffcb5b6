"""Fetches a task's data, and says whether all of it came.

  hub    Parquet files of the Hub's repository that the record names (`Task.
         hub`), by `huggingface_hub`: in its cache and by its variables
         (HF_HOME, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE), then copied into the
         task's folder under data_dir. A repository without Parquet of its own
         has the Hub's conversion at refs/convert/parquet.
  tfds   the builder of tensorflow-datasets, which fetches the raw files and
         writes array_record, see readers/tfds.py.

Large files of the Hub are stored under the SHA-256 of their content, which is
compared with what came. A split's files get their names when all are there.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
import shutil
from collections.abc import Mapping

from glue_jax.data import hub
from glue_jax.data.readers import arrow, formats, split_files, tfds
from glue_jax.data.tasks.task import Task
from glue_jax.reporting import files

SOURCES = ('hub', 'tfds')
# Where the Hub keeps what it made of other formats.
CONVERTED = 'refs/convert/parquet'
RECORD = 'source.json'


@dataclasses.dataclass(frozen=True)
class Fetched:
  """What came.

  Attributes:
    folder: where it lies.
    origin: what it is, 'nyu-mll/glue, rte, commit 0123abc'.
    rows: {split: rows there}.
  """

  folder: pathlib.Path
  origin: str
  rows: Mapping[str, int]

  def wrong(self, task: Task) -> list[str]:
    """What differs from the task's record, a line each."""
    return [
      f'{split}: {self.rows.get(split, 0)} rows, the official split has {count}'
      for split, count in task.splits.items()
      if count not in (None, self.rows.get(split, 0))
    ]


def from_hub(
  task: Task, data_dir: pathlib.Path, revision: str | None = None
) -> Fetched:
  """Fetches a task's Parquet files.

  Args:
    task: a task with a repository.
    data_dir: root of the data folders; the files come to `task.folder` in it.
    revision: branch, tag or commit; None = the record's, or the newest of
      `main`. The commit is kept in `source.json` beside the files.

  Raises:
    ValueError: the task names no repository, the folder has files that would
      be read instead, or what came isn't what the Hub says.
    FileNotFoundError: the Hub doesn't give it, or it isn't there.
    ImportError: no pyarrow.
  """
  if task.hub is None:
    raise ValueError(
      f'task {task.name!r} names no repository of the Hub; its files are read '
      'as they are'
    )
  arrow.library()  # before anything is fetched
  target = data_dir / task.folder
  _nothing_else(task, data_dir, target)
  snapshot, found = _splits(task, revision)
  rows, names = {}, {}
  with files.whole_folder(target) as part:
    for split, paths in found.items():
      rows[split] = 0
      for number, path in enumerate(paths):
        name = f'{split}-{number:05}-of-{len(paths):05}.parquet'
        names[name] = _copied(path, part / name)
        rows[split] += arrow.count(part / name)
    about = dict(
      repository=task.hub.repository,
      config=task.hub.config,
      commit=snapshot.name,
      sha256=names,
      rows=rows,
    )
    (part / RECORD).write_text(json.dumps(about, indent=2) + '\n')
  origin = f'{task.hub.repository}, {task.hub.config}, commit {snapshot.name}'
  return Fetched(target, origin, rows)


def from_tfds(
  task: Task, data_dir: pathlib.Path, source: pathlib.Path | None = None
) -> Fetched:
  """Prepares the folder of tensorflow-datasets; arguments of `tfds.prepare`."""
  folder = tfds.prepare(task, data_dir, source)
  return Fetched(
    folder, f'tensorflow-datasets {task.tfds}', tfds.counts(folder)
  )


def _nothing_else(task, data_dir, target) -> None:
  """Raises ValueError if other data of the task would be read, or doubled."""
  prepared = tfds.find(task, data_dir)
  if prepared:
    raise ValueError(
      f'{prepared} is there and would be read instead; remove it, or give '
      'another --data_dir'
    )
  for split in task.splits:
    stems = task.stems.get(split, (split,))
    for path in split_files.named(target, stems, formats.ENDINGS):
      # What an earlier call brought is replaced.
      if not re.fullmatch(rf'{split}-\d{{5}}-of-\d{{5}}\.parquet', path.name):
        raise ValueError(
          f'{path} is there, another file of split {split!r}; remove it, or '
          'give another --data_dir'
        )


def _splits(
  task: Task, revision: str | None
) -> tuple[pathlib.Path, dict[str, list[pathlib.Path]]]:
  """(snapshot of a commit, {split: its files}).

  Raises:
    FileNotFoundError: a split of the task isn't there.
  """
  asked = revision or task.hub.revision
  missing, snapshot = [], None
  for one in [asked] if asked else [None, CONVERTED]:
    try:
      snapshot = _snapshot(task, one)
    except FileNotFoundError:
      if one == CONVERTED and missing:
        break  # there is none; what main lacks is what counts
      raise
    found = {s: _of_split(snapshot / task.hub.config, s) for s in task.splits}
    lacks = [split for split, paths in found.items() if not paths]
    if not lacks:
      return snapshot, found
    missing = missing or lacks
  raise FileNotFoundError(
    f'{task.hub.repository} has no Parquet files of {", ".join(missing)} under '
    f'{task.hub.config}/ at {asked or "main"}'
    + ('' if asked else f' nor at {CONVERTED}')
    + '; --revision names another branch, tag or commit'
  )


def _snapshot(task: Task, revision: str | None) -> pathlib.Path:
  """The folder of a commit, in the cache, with the Parquet of the config."""
  import huggingface_hub

  hub.quiet()
  name = task.hub.repository + (f'@{revision}' if revision else '')
  try:
    return pathlib.Path(
      huggingface_hub.snapshot_download(
        task.hub.repository,
        repo_type='dataset',
        revision=revision,
        allow_patterns=[f'{task.hub.config}/*.parquet'],
      )
    )
  except Exception as error:  # of several libraries, compiled ones too
    if isinstance(error, OSError) and error.errno is not None:
      raise  # of the disk
    raise FileNotFoundError(hub.refusal(error, name, 'dataset')) from error


def _of_split(folder: pathlib.Path, split: str) -> list[pathlib.Path]:
  """Files of a split: in a folder, in shards, or one that ends in its name."""
  if (folder / split).is_dir():
    return split_files.of(folder / split, ('.parquet',))
  name = re.compile(rf'(\w+-)?{split}(-\d{{5}}-of-\d{{5}}(-\w+)?)?\.parquet')
  paths = sorted(folder.iterdir()) if folder.is_dir() else []
  paths = [path for path in paths if name.fullmatch(path.name)]
  split_files.check_whole(paths)
  return paths


def _copied(source: pathlib.Path, target: pathlib.Path) -> str:
  """Copies a file; returns the SHA-256 of what was written.

  Raises:
    ValueError: it isn't what the Hub stored under that hash.
  """
  shutil.copyfile(source, target)
  with target.open('rb') as file:
    found = hashlib.file_digest(file, 'sha256').hexdigest()
  stored = pathlib.Path(os.path.realpath(source)).name
  if re.fullmatch('[0-9a-f]{64}', stored) and stored != found:
    raise ValueError(
      f'{source}: its content has SHA-256 {found}, the Hub says {stored}; '
      f'remove {os.path.realpath(source)} and start the same command again'
    )
  return found


def next_command(task: str, data_dir: str | os.PathLike) -> str:
  """What is usually done then."""
  return f'python -m launch.data check --task={task} --data_dir={data_dir}'
