"""Submission files: the GLUE zip and the SQuAD json, checked as they are made.

GLUE (Wang et al. 2018, arXiv 1804.07461): one zip with 11 files at its root,
each `index<TAB>prediction` with one row a test example in index order. The
board scores nothing unless all files are there, so a task that was not run is
filled with a constant, and the report says so.
"""

import json
import math
import os
import pathlib
import zipfile
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from glue_jax.data.readers.values import number
from glue_jax.data.tasks import by_name
from glue_jax.data.tasks.task import Task
from glue_jax.reporting import files as files_lib

# Their files take class numbers, the other tasks' files label names.
_NUMBERED = ('cola', 'sst2', 'mrpc', 'qqp', 'wnli')
_HEADER = 'index\tprediction'
# Any fixed date: the same predictions give the same zip.
_DATE = (1980, 1, 1, 0, 0, 0)

GLUE_TASKS = (
  'cola',
  'sst2',
  'mrpc',
  'qqp',
  'stsb',
  'mnli',
  'qnli',
  'rte',
  'wnli',
  'ax',
)


def glue_files() -> dict[str, tuple[Task, str]]:
  """{file name in the zip: (task, test split)}, 11 of them."""
  return {
    file: (by_name.get(name), split)
    for name in GLUE_TASKS
    for split, file in by_name.get(name).submission.items()
  }


def write_glue(
  path: str | os.PathLike, predictions: Mapping[str, Sequence[Mapping]]
) -> list[dict[str, Any]]:
  """Writes the zip, reads it back and compares.

  Args:
    path: zip to write; it appears only when it is right.
    predictions: {file name in the zip: records with 'idx' and 'prediction'} in
      any order; labels by name, STS-B as numbers, which are clipped to 0..5.
      Files left out are filled with a constant.

  Returns:
    One row a file for the report: file, rows, prediction ('from a run' or the
    constant).

  Raises:
    ValueError: unknown file name; wrong count, unknown label, repeated or
      missing index; all problems of all files at once.
  """
  files = glue_files()
  problems = [
    f'{name}: not a file of the zip; expected one of {sorted(files)}'
    for name in predictions
    if name not in files
  ]
  texts, rows = {}, []
  for name, (task, split) in files.items():
    count = task.splits[split]
    if name in predictions:
      values, wrong = _values(name, task, count, predictions[name])
      problems += wrong
      source = 'from a run'
    else:
      constant = _constant(task)
      values, source = [constant] * count, f'constant {constant}: not run'
    texts[name] = values
    rows.append({'file': name, 'rows': len(values), 'prediction': source})
  if problems:
    raise ValueError('no submission written:\n' + '\n'.join(problems))
  path = pathlib.Path(path)
  lines = {
    name: [_HEADER, *(f'{i}\t{value}' for i, value in enumerate(values))]
    for name, values in texts.items()
  }
  with files_lib.whole(path) as part:
    write_zip(part, {n: '\n'.join(one) + '\n' for n, one in lines.items()})
    if read_glue(part) != texts:
      raise RuntimeError(f'{path}: what was read back differs; disk faulty?')
  return rows


def read_glue(path: str | os.PathLike) -> dict[str, list[str]]:
  """Reads and checks a GLUE zip.

  Returns:
    {file name: predictions in index order, as they are written}.

  Raises:
    ValueError: other files than the 11 at the root, a wrong header, count,
      index or value; names file and line.
  """
  files = glue_files()
  texts = read_zip(path, files)
  return {
    name: _read_file(f'{path}:{name}', task, task.splits[split], texts[name])
    for name, (task, split) in files.items()
  }


def write_squad(
  path: str | os.PathLike,
  records: Sequence[Mapping],
  ids: Sequence[str],
  odds_path: str | os.PathLike | None = None,
) -> None:
  """Writes {id: text}, and for SQuAD 2.0 {id: no-answer odds}, checked.

  Args:
    path: predictions json.
    records: with 'id', 'prediction' and, for 2.0, 'null_odds'.
    ids: every question of the split.
    odds_path: json of the odds; None for SQuAD 1.1.

  Raises:
    ValueError: repeated, missing or unknown ids, an answer that is no text, or
      odds that are no number.
  """
  given_ids = [record.get('id') for record in records]
  problems = _id_problems(given_ids, ids)
  for record in records:
    if not isinstance(record.get('prediction'), str):
      problems.append(f'{record.get("id")!r}: the answer is not a text')
    odds = record.get('null_odds')
    if odds_path is not None and not _is_number(odds):
      problems.append(f'{record.get("id")!r}: null_odds {odds!r} is no number')
  if problems:
    raise ValueError('no submission written:\n' + _first(problems))
  order = {key: i for i, key in enumerate(ids)}
  records = sorted(records, key=lambda record: order[record['id']])
  files = {path: {r['id']: r['prediction'] for r in records}}
  if odds_path is not None:
    files[odds_path] = {r['id']: r['null_odds'] for r in records}
  for file, content in files.items():
    files_lib.replace_text(file, json.dumps(content, ensure_ascii=False) + '\n')
    text = pathlib.Path(file).read_text(encoding='utf-8')
    if json.loads(text) != content:
      raise RuntimeError(f'{file}: what was read back differs')


def _values(name, task, count, records):
  """Written values in index order, and what is wrong with the records."""
  problems = []
  by_index: dict[int, Any] = {}
  for record in records:
    index = record.get('idx')
    if index in by_index:
      problems.append(f'index {index!r} repeated')
    elif not isinstance(index, int) or not 0 <= index < count:
      problems.append(f'index {index!r}: expected 0 to {count - 1}')
    by_index[index] = record.get('prediction')
  if len(records) != count:
    problems.insert(0, f'{len(records)} predictions; the board expects {count}')
  missing = count - len(by_index.keys() & set(range(count)))
  if missing:
    problems.append(f'{missing} of {count} indices are missing')
  values = []
  for index in range(count):
    if index in by_index:
      try:
        values.append(_written(task, by_index[index]))
      except ValueError as error:
        problems.append(f'index {index}: {error}')
  return values, [f'{name}: {problem}' for problem in shortened(problems)]


def _written(task: Task, prediction: Any) -> str:
  """A prediction as the board reads it."""
  if task.kind == 'regression':
    if not _is_number(prediction):
      raise ValueError(f'{prediction!r} is no finite number')
    low, high = task.label_range
    return f'{min(max(float(prediction), low), high):.3f}'
  if prediction not in task.labels:
    raise ValueError(
      f'unknown label {prediction!r}; expected one of {list(task.labels)}'
    )
  if task.name in _NUMBERED:
    return str(task.labels.index(prediction))
  return prediction


def _constant(task: Task) -> str:
  """The filling of a task that was not run: first label, middle score."""
  if task.kind == 'regression':
    return _written(task, sum(task.label_range) / 2)
  return _written(task, task.labels[0])


def write_zip(path: str | os.PathLike, texts: Mapping[str, str]) -> None:
  """Writes {name: text} as a zip of the same bytes each time."""
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
    for name, text in texts.items():
      info = zipfile.ZipInfo(name, _DATE)
      info.compress_type = zipfile.ZIP_DEFLATED
      info.external_attr = 0o644 << 16
      archive.writestr(info, text)


def read_zip(
  path: str | os.PathLike, expected: Collection[str]
) -> dict[str, bytes]:
  """{name: content} of a zip that holds exactly the files expected.

  Raises:
    ValueError: no zip, or other files.
  """
  try:
    with zipfile.ZipFile(path) as archive:
      names = archive.namelist()
      texts = {name: archive.read(name) for name in names}
  except (OSError, zipfile.BadZipFile) as error:
    raise ValueError(f'{path} is no readable zip: {error}') from error
  if sorted(names) != sorted(expected):
    missing = sorted(set(expected) - set(names))
    extra = sorted(set(names) - set(expected))
    raise ValueError(
      f'{path} must hold exactly {len(expected)} files at its root; missing: '
      f'{missing}; unexpected: {extra}'
    )
  return texts


def _read_file(where: str, task: Task, count: int, data: bytes) -> list[str]:
  lines = data.decode('utf-8').splitlines()
  if not lines or lines[0] != _HEADER:
    raise ValueError(f'{where}:1: expected the header {_HEADER!r}')
  if len(lines) - 1 != count:
    raise ValueError(f'{where}: {len(lines) - 1} rows; expected {count}')
  numbers = [str(i) for i in range(len(task.labels))]
  known = numbers if task.name in _NUMBERED else task.labels
  values = []
  for i, line in enumerate(lines[1:]):
    index, _, value = line.partition('\t')
    if index != str(i):
      raise ValueError(f'{where}:{i + 2}: index {index!r}; expected {i}')
    if task.kind == 'regression':
      low, high = task.label_range
      good = _parses(value) and low <= float(value) <= high
    else:
      good = value in known
    if not good:
      raise ValueError(f'{where}:{i + 2}: unknown value {value!r}')
    values.append(value)
  return values


def _id_problems(given_ids: Sequence, ids: Sequence[str]) -> list[str]:
  expected, seen = set(ids), set()
  problems = []
  for key in given_ids:
    if key in seen:
      problems.append(f'question {key!r} repeated')
    elif key not in expected:
      problems.append(f'question {key!r} is not in the split')
    seen.add(key)
  missing = [key for key in ids if key not in seen]
  if missing:
    problems.append(
      f'{len(missing)} of {len(ids)} questions have no answer, first '
      f'{missing[0]!r}'
    )
  return problems


def _is_number(value: Any) -> bool:
  real = isinstance(value, (int, float)) and not isinstance(value, bool)
  return real and math.isfinite(value)


def _parses(text: str) -> bool:
  try:
    number(text)
  except ValueError:
    return False
  return True


def shortened(problems: list[str], most: int = 5) -> list[str]:
  """The first problems and how many more there are."""
  if len(problems) <= most:
    return problems
  return [*problems[:most], f'... and {len(problems) - most} more problems']


def _first(problems: list[str]) -> str:
  return '\n'.join(shortened(problems))
