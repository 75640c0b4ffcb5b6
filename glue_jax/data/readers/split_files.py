"""Which files a split has: one, a set of shards, a folder's, a pattern's.

  train.parquet                     itself
  train-00000-of-00002.parquet      the whole set that the shard is of
  train-*.parquet                   all that the pattern fits, sorted by name
  train/                            its files, sorted by name
  train/ with state.json            those that `datasets` saved, in its order

A set of which a shard is missing is refused.
"""

import glob
import json
import os
import pathlib
import re
from collections.abc import Collection, Iterable, Sequence

# As `datasets` and tensorflow-datasets write them; older ones have a hash.
_SHARD = re.compile(r'-(\d{5})-of-(\d{5})(-[0-9a-f]{16})?(?=\.)')
STATE = 'state.json'  # of a data set that `datasets` saved
SPLITS = 'dataset_dict.json'  # of several, one folder a split


def is_there(path: pathlib.Path) -> bool:
  """Whether a path is a file, a folder with files, or fits some."""
  if is_pattern(path):
    return bool(glob.glob(str(path)))
  return path.is_file() or (path.is_dir() and bool(listed(path)))


def is_pattern(path: str | os.PathLike) -> bool:
  """Whether a path stands for others: it has *, ? or [, and isn't there."""
  return bool(re.search(r'[*?[]', str(path))) and not os.path.exists(path)


def _plain_ending(rest: str) -> tuple[str, str]:
  """What follows a split's name, without the number of a shard.

  Returns:
    (ending, the set that it is a shard of; '' for a file of its own).
  """
  found = _SHARD.match(rest)
  return (rest[found.end() :], f'of {found[2]}') if found else (rest, '')


def is_one(path: pathlib.Path) -> bool:
  """Whether a path is one split: a file, a pattern, or a saved data set."""
  if is_pattern(path):
    return is_there(path)
  return path.is_file() or (path / STATE).is_file()


def find(
  base: pathlib.Path, name: str, endings: Collection[str]
) -> pathlib.Path | None:
  """The files of a split by its name, with or without ending, packed or not.

  Args:
    base: folder where they lie.
    name: of a file, pattern or folder in it, or a whole path.
    endings: with their dot; of what may be left out, and of a folder's files.

  Returns:
    What `of` takes; None = there is none.
  """
  path = base / name
  if is_one(path):
    return path
  found = named(path.parent, [path.name], endings)
  if not found and path.is_dir() and listed(path, endings):
    return path
  return found[0] if found else None


def named(
  folder: pathlib.Path, stems: Iterable[str], endings: Iterable[str]
) -> list[pathlib.Path]:
  """Files with one of these stems and endings, perhaps packed (.gz).

  Of a set of shards it is the first that is there, see above.

  Args:
    folder: where they lie.
    stems: names without ending; may begin with folders.
    endings: with their dot; they count in any case.

  Returns:
    Paths in the order of the stems, then endings.
  """
  found = []
  for stem in stems:
    place = (folder / stem).parent
    start = pathlib.PurePath(stem).name
    there: dict[str, list[pathlib.Path]] = {}
    sets = set()
    for path in sorted(place.iterdir()) if place.is_dir() else ():
      if path.name.startswith(start) and path.is_file():
        rest = path.name[len(start) :].lower()
        ending, shard = _plain_ending(rest)
        if not shard or (ending, shard) not in sets:
          there.setdefault(ending, []).append(path)
        sets.add((ending, shard))
    for ending in endings:
      found += [p for gz in ('', '.gz') for p in there.get(ending + gz, ())]
  return found


def of(path: pathlib.Path, endings: Collection[str] = ()) -> list[pathlib.Path]:
  """The files that a path stands for, in the order of their rows.

  Args:
    path: see above.
    endings: with their dot: those of a folder's files that count; empty = all.

  Raises:
    FileNotFoundError: there is none.
    ValueError: a shard is missing, or `datasets` saved a selection of rows.
  """
  if path.is_dir():
    saved = (path / STATE).is_file()
    paths = _saved(path) if saved else listed(path, endings)
  elif is_pattern(path):
    paths = [pathlib.Path(p) for p in sorted(glob.glob(str(path)))]
  else:
    paths = _set(path)
  if not paths:
    raise FileNotFoundError(f'{path}: no data file is there')
  check_whole(paths)
  return paths


def listed(
  folder: pathlib.Path, endings: Collection[str] = ()
) -> list[pathlib.Path]:
  """A folder's files, but for hidden ones and descriptions.

  Args:
    folder: one that is there.
    endings: with their dot, in small letters; empty = all. Packed files
      (.gz) have them too.
  """
  return [
    path
    for path in sorted(folder.iterdir())
    if path.is_file()
    and path.name[0] not in '._'
    and path.name not in (STATE, SPLITS, 'dataset_info.json')
    and (not endings or _ending(path.name) in endings)
  ]


def _ending(name: str) -> str:
  return pathlib.PurePath(name.lower().removesuffix('.gz')).suffix


def _saved(folder: pathlib.Path) -> list[pathlib.Path]:
  """The files that `datasets` saved in a folder."""
  path = folder / STATE
  try:
    state = json.loads(path.read_text(encoding='utf-8'))
    names = [entry['filename'] for entry in state['_data_files']]
  except (ValueError, KeyError, TypeError) as error:
    raise ValueError(
      f'{path}: not what `save_to_disk` writes ({error!r}); save it again'
    ) from None
  if state.get('_indices_data_files') or state.get('_indices_files'):
    raise ValueError(
      f'{folder}: saved as a selection of rows by an old `datasets`; call '
      'flatten_indices() and save it again'
    )
  missing = [name for name in names if not (folder / name).is_file()]
  if missing:
    raise FileNotFoundError(
      f'{folder / missing[0]} is missing, which {STATE} names; copy it again'
    )
  return [folder / name for name in names]


def _set(path: pathlib.Path) -> list[pathlib.Path]:
  """The shards of the set that a file is of."""
  found = _SHARD.search(path.name)
  if not found:
    return [path]
  start, end = path.name[: found.start()], path.name[found.end() :]
  pattern = re.compile(
    re.escape(start) + rf'-\d{{5}}-of-{found[2]}(-\w+)?' + re.escape(end)
  )
  return [p for p in sorted(path.parent.iterdir()) if pattern.fullmatch(p.name)]


def check_whole(paths: Sequence[pathlib.Path]) -> None:
  """Raises ValueError if a shard of a set isn't among the files."""
  numbers: dict[tuple, set[int]] = {}
  for path in paths:
    if found := _SHARD.search(path.name):
      key = (path.with_name(path.name[: found.start()]), int(found[2]))
      numbers.setdefault(key, set()).add(int(found[1]))
  for (start, count), there in numbers.items():
    missing = sorted(set(range(count)) - there)
    if missing:
      raise ValueError(
        f'{start}: {len(missing)} of {count} files are missing, the first is '
        f'{start.name}-{missing[0]:05}-of-{count:05}; get the whole set'
      )
