"""Opens one split of a task: finds its file, reads and checks it.

Readers are chosen by what lies in the data folder:

  a prepared TFDS folder   <data_dir>/glue/rte/2.0.0 (array_record)
  Parquet, Arrow           <data_dir>/<task>/train.parquet, columns as below
  the glue_data layout     <data_dir>/RTE/train.tsv
  JSONL, JSON or CSV       <data_dir>/<task>/train.jsonl, keys or header =
                           the task's columns, its label column and idx
  SuperGLUE's JSONL        <data_dir>/superglue/CB/train.jsonl
  one token a line         <data_dir>/<task>/train.iob or .conll
  SQuAD JSON               <data_dir>/squad_v2/train-v2.0.json

`<data_dir>` may also be the task's own folder, or have all of these under
`glue`. Endings count in any case; files may be packed by gzip, and a split may
be a set of shards (train-00000-of-00002.parquet). `files` names other files by
split, or folders or patterns of files, see readers/split_files.py. What reads a
file: readers/formats.py.
"""

import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from glue_jax.data import folds
from glue_jax.data.readers import formats, rows, split_files, tfds
from glue_jax.data.readers.files import Log
from glue_jax.data.table import Table
from glue_jax.data.tasks import synthetic
from glue_jax.data.tasks.task import Cut, Task

VARIABLE = 'GLUE_JAX_DATA'


def load(
  task: Task,
  split: str,
  data_dir: str | os.PathLike | None = None,
  *,
  files: Mapping[str, str | os.PathLike] | None = None,
  bad_rows: str = 'error',
  seed: int = 0,
) -> Table:
  """Reads one split, or draws it from another as `Task.cuts` says.

  Args:
    task: the task's record.
    split: one of its splits.
    data_dir: data folder; None reads the variable GLUE_JAX_DATA.
    files: {split: file name or path} for files named in another way; names
      are looked up in the task's folder, data_dir, the working directory.
    bad_rows: 'error' stops at the first bad row; 'drop' leaves bad rows out
      and says so in `notes`.
    seed: seed of generated tasks.

  Returns:
    The table; its row count is compared with the official one in `notes`.

  Raises:
    FileNotFoundError: no such file; says where it was looked for.
    ValueError: the file is not in the expected layout.
  """
  if bad_rows not in ('error', 'drop'):
    raise ValueError(f"bad_rows={bad_rows!r}; expected 'error' or 'drop'")
  _check_split(task, split, files)
  given = files or {}
  drawn = {k: cut for k, cut in task.cuts.items() if k not in given}
  source = drawn[split].source if split in drawn else split
  table = _read(task, source, data_dir, given, bad_rows, seed)
  if split in drawn or (split in {c.source for c in drawn.values()}):
    table = part(table, split, drawn)
  return table


def _read(task, split, data_dir, files, bad_rows, seed) -> Table:
  """One split as it lies in its file."""
  if task.generated and split not in files:
    made = synthetic.generate(task.name, split, seed)
    return Table(
      task, split, made, f'generated, seed {seed}', 'generated', True
    )
  named = {**({} if task.tfds else task.sources), **files}
  root = _root(task, data_dir, split, named)
  name = named.get(split)
  folder = None if name else tfds.find(task, root)
  if folder:
    log, style = Log(folder, bad_rows == 'drop'), 'tfds'
    converted = _convert_tfds(task, split, folder, log)
    path = folder
  else:
    path = find_file(task, split, root, name)
    log = Log(path, bad_rows == 'drop')
    style, converted = _read_file(task, split, path, log)
  notes = (*log.all_notes(), *_count_note(task, split, len(converted), path))
  labelled = converted[0]['label'] is not None
  table = Table(
    task,
    split,
    converted,
    str(path),
    style,
    labelled,
    notes,
    lines=tuple(log.kept),
    left_out=len(log.dropped),
    parts=tuple(log.parts),
  )
  if task.references and labelled and split != task.train_split:
    return table.by_source()
  return table


def from_records(
  task: Task,
  records: Sequence[Mapping],
  source: str = 'rows',
  first: int = 0,
) -> Table:
  """An unlabelled table of a user's own texts.

  Args:
    task: the task's record.
    records: dicts with the task's columns, which may be blank texts, and
      perhaps 'idx' or 'id', which is kept; others are numbered.
    source: named in errors instead of a file.
    first: number of the first row.

  Raises:
    ValueError: a column is missing or no text, with the record's number.
  """
  log = Log(pathlib.Path(source), droppable=False)
  converted: list[rows.Row] = []
  seen = set()
  for number, record in enumerate(records, first):
    missing = [c for c in task.columns if c not in record]
    if missing:
      raise ValueError(
        f'{source}:{number + 1}: keys {sorted(record)} lack '
        f'{", ".join(missing)}'
      )
    row = rows.unlabelled(task, record, number, log)
    if task.kind == 'span' and row['id'] in seen:
      raise ValueError(
        f'{source}:{number + 1}: question id {row["id"]!r} occurs twice'
      )
    seen.add(row.get('id'))
    converted.append(row)
  if not converted:
    raise ValueError(f'{source}: no rows; expected at least one')
  notes = _blank_note(task, converted, source, first)
  return Table(task, 'own', converted, source, 'rows', False, notes)


def _blank_note(task, converted, source, first) -> tuple[str, ...]:
  blank = [
    number
    for number, row in enumerate(converted, first + 1)
    if not all(''.join(row[column]).strip() for column in task.columns)
  ]
  if not blank:
    return ()
  return (
    f'{source}: {len(blank)} rows have a blank text and are predicted as such '
    f'(the first is row {blank[0]})',
  )


def _check_split(task, split, files) -> None:
  known = {*task.splits, *(files or {}), *task.eval_splits, *task.test_splits}
  known |= {task.train_split, *task.cuts} - {''}
  if split not in known:
    raise ValueError(
      f'task {task.name!r} has no split {split!r}; it has {sorted(known)}'
    )


def _root(task, data_dir, split, files) -> pathlib.Path:
  text = data_dir or os.environ.get(VARIABLE, '')
  if not text and split in (files or {}):
    return pathlib.Path()
  if not text:
    raise ValueError(
      f'task {task.name!r} needs data files: set data.data_dir (--data_dir) or '
      f'the variable {VARIABLE} to the folder that holds them'
    )
  root = pathlib.Path(text).expanduser()
  if not root.is_dir():
    raise FileNotFoundError(f'data folder {root} does not exist')
  return root


def folders(task: Task, root: pathlib.Path) -> list[pathlib.Path]:
  """Folders in which a task's files are looked for, best first."""
  own = (task.folder, pathlib.PurePath(task.folder).name, task.name)
  names = dict.fromkeys(name for name in own if name)
  under = [base / name for base in (root, root / 'glue') for name in names]
  return [folder for folder in under if folder.is_dir()] + [root]


def find_file(
  task: Task, split: str, root: pathlib.Path, name: str | None = None
) -> pathlib.Path:
  """The file of a split.

  Raises:
    FileNotFoundError: none was found; lists where and what was looked for.
    ValueError: several fit.
  """
  places = folders(task, root)
  if name:
    places = [*places, pathlib.Path()]
    paths = [p / name for p in places if split_files.is_there(p / name)]
    if not paths and pathlib.Path(name).is_absolute():
      # The path that a run kept, whose data is at another place by now.
      name = pathlib.Path(name).name
      paths = [p / name for p in places if split_files.is_there(p / name)]
    wanted = [name]
  else:
    stems = task.stems.get(split, (split,))
    wanted = [f'{s}{e}' for s in stems for e in formats.ENDINGS]
    paths = []
    for place in places:
      paths = split_files.named(place, stems, formats.ENDINGS)
      if paths:
        break
    if len(paths) > 1:
      raise ValueError(
        f'split {split!r} of {task.name} fits several files: '
        f'{", ".join(map(str, paths))}; name one with data.files='
        f'{{{split!r}: {paths[0].name!r}}}'
      )
  if paths:
    return paths[0]
  raise FileNotFoundError(
    f'no file for split {split!r} of {task.name}: looked for {wanted[0]!r} '
    f'(and {len(wanted) - 1} other names, with and without .gz) in '
    f'{", ".join(map(str, places))}, where there is '
    f'{_names_in(places[0])}. Other names: data.files='
    f'{{{split!r}: "FILE"}}'
  )


def _names_in(folder: pathlib.Path) -> str:
  names = sorted(path.name for path in folder.iterdir())
  return ', '.join(names[:12]) + (', ...' if len(names) > 12 else '')


def _read_file(task, split, path, log):
  """(format, rows) of a split's file, or files."""
  paths = split_files.of(path, formats.ENDINGS)
  if paths == [path]:
    opened = formats.open_file(task, split, path, log)
    records = list(opened.records)
  else:
    records = []
    for file in paths:
      part = Log(file, log.drop)
      opened = formats.open_file(task, split, file, part)
      records += log.add(part, list(opened.records))
  style, names = opened.format, opened.names
  keys = records[0][1] if records else {}
  if task.kind != 'span' and 'idx' not in keys and 'id' in keys:
    names['idx'] = names['idx'].replace('idx', 'id')
  elif task.kind != 'span' and 'id' in keys and 'id' not in names.values():
    log.note(records[0][0], 'has both idx and id; idx is kept, id is left out')
  return style, rows.convert(task, split, records, log, names)


def _convert_tfds(task, split, folder, log):
  names = {column: column for column in task.columns}
  names |= {'label': 'label', 'idx': 'idx'}
  records = tfds.read(folder, task.sources.get(split, split))
  if task.kind == 'span':
    records = (
      (number, {'is_impossible': None, **record}) for number, record in records
    )
  return rows.convert(task, split, records, log, names)


def _count_note(task, split, count, path) -> tuple[str, ...]:
  official = task.splits.get(split)
  if official in (None, count):
    return ()
  return (
    f'{path}: {count} rows in split {split!r} of {task.name}, the official '
    f'split has {official}; scores on it cannot be compared with published '
    f'ones',
  )


def part(table: Table, split: str, cuts: Mapping[str, Cut]) -> Table:
  """The rows of one split, out of those of the whole source.

  Cuts of one source are drawn one after another in the order of their names,
  so no row is in two of them. The draw is plain, not stratified. What they
  leave is dealt into folds, of which a split may be one.

  Args:
    table: all rows of the source split.
    split: the source, or a split that is drawn from it.
    cuts: by the split they make.

  Raises:
    ValueError: a split would be empty.
  """
  source = table.split
  own = {k: cut for k, cut in cuts.items() if cut.source == source}
  chosen = _chosen(table, own)
  if split in chosen:
    rows = chosen[split]
  else:
    kept = set(chosen) - set(table.task.given_back)
    drawn = {row for name in kept for row in chosen[name].tolist()}
    rows = [row for row in range(len(table)) if row not in drawn]
  if not len(rows):
    raise ValueError(
      f'{table.path}: {len(table)} rows in split {source!r} of '
      f'{table.task.name} leave none for split {split!r}; cuts: {dict(cuts)}'
    )
  subset = table.take(rows)
  subset.split = split
  subset.left_out = 0  # bad rows are those of the source
  # A count that differs from the official one is what a cut is for.
  subset.notes = tuple(n for n in table.notes if 'the official split' not in n)
  return subset


def _chosen(table: Table, cuts: Mapping[str, Cut]) -> dict[str, np.ndarray]:
  """{split: sorted row numbers}."""
  count = len(table)
  left, chosen = np.arange(count), {}
  fractions = {name: cut for name, cut in cuts.items() if not cut.folds}
  for name, cut in sorted(fractions.items()):
    rng = np.random.Generator(np.random.Philox(key=[cut.seed, count]))
    size = min(round(cut.fraction * count), len(left))
    chosen[name] = np.sort(rng.choice(left, size, replace=False))
    left = np.setdiff1d(left, chosen[name])
  for name in cuts.keys() - fractions.keys():
    cut = cuts[name]
    place = folds.assign(table.take(left), cut.folds, cut.seed)
    chosen[name] = left[place == cut.fold]
  return chosen
