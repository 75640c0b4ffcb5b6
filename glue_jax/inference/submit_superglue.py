"""SuperGLUE's zip: ten files of JSON lines, checked as they are made.

Wang et al. 2019, arXiv 1905.00537; each file as the benchmark's own toolkit
(jiant) writes it:

  BoolQ, WiC               {"idx": 0, "label": "true"}
  WSC                      {"idx": 0, "label": "True"}
  CB, RTE, AX-b, AX-g      {"idx": 0, "label": "entailment"}
  COPA                     {"idx": 0, "label": 0}, the number of the choice
  MultiRC                  {"idx": 0, "passage": {"questions": [{"idx": 0,
                           "answers": [{"idx": 0, "label": 0}]}]}}
  ReCoRD                   {"idx": 0, "label": "an entity"}, of a query

The board takes whole zips only, so a task that was not run is filled with a
constant, and the report says so.
"""

import json
import os
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from glue_jax.data.tasks import by_name
from glue_jax.data.tasks.task import Task
from glue_jax.inference import submit
from glue_jax.reporting import files as files_lib

TASKS = (
  'boolq',
  'cb',
  'copa',
  'multirc',
  'record',
  'superglue_rte',
  'wic',
  'wsc',
  'axb',
  'axg',
)
# Of tasks whose rows are parts: how many lines the test file has.
_PASSAGES, _QUESTIONS, _ANSWERS = 166, 1820, 9693
_QUERIES = 10000
_SMALL_LETTERS = ('boolq', 'wic')

Records = Sequence[Mapping[str, Any]]
Lines = list[dict[str, Any]]


def files() -> dict[str, tuple[Task, str]]:
  """{file name in the zip: (task, test split)}, 10 of them."""
  return {
    file: (by_name.get(name), split)
    for name in TASKS
    for split, file in by_name.get(name).submission.items()
  }


def write(
  path: str | os.PathLike,
  predictions: Mapping[str, Records],
  answers: Sequence[str] = (),
) -> list[dict[str, Any]]:
  """Writes the zip, reads it back and compares.

  Args:
    path: zip to write; it appears only when it is right.
    predictions: {file name in the zip: records with 'idx' and 'prediction',
      a label's name} in any order; of ReCoRD a record for each entity, with
      'candidate' and 'probabilities'. Files left out are filled with a
      constant.
    answers: ids of MultiRC's test rows ('0-0-0'), needed where it is filled.

  Returns:
    One row a file for the report: file, rows, prediction ('from a run' or the
    constant).

  Raises:
    ValueError: unknown file name; wrong count, unknown label, repeated or
      missing index; all problems of all files at once.
  """
  known = files()
  problems = [
    f'{name}: not a file of the zip; expected one of {sorted(known)}'
    for name in predictions
    if name not in known
  ]
  contents, rows = {}, []
  for name, (task, split) in known.items():
    records, source = predictions.get(name), 'from a run'
    if records is None:
      records, source = _filled(task, split, answers)
    lines, wrong = _lines(task, split, records)
    problems += [f'{name}: {text}' for text in submit.shortened(wrong)]
    contents[name] = lines
    rows.append({'file': name, 'rows': len(lines), 'prediction': source})
  if problems:
    raise ValueError('no submission written:\n' + '\n'.join(problems))
  with files_lib.whole(pathlib.Path(path)) as part:
    submit.write_zip(part, {n: _text(lines) for n, lines in contents.items()})
    if read(part) != contents:
      raise RuntimeError(f'{path}: what was read back differs; disk faulty?')
  return rows


def read(path: str | os.PathLike) -> dict[str, Lines]:
  """Reads and checks a SuperGLUE zip.

  Returns:
    {file name: its lines}, in the order of their ids.

  Raises:
    ValueError: other files than the 10 at the root, a line that isn't of its
      file's form, a wrong count, id or label; names file and line.
  """
  known = files()
  texts = submit.read_zip(path, known)
  return {
    name: _read_file(f'{path}:{name}', task, split, texts[name])
    for name, (task, split) in known.items()
  }


def _text(lines: Lines) -> str:
  return ''.join(json.dumps(line, ensure_ascii=False) + '\n' for line in lines)


def _lines(task: Task, split: str, records: Records) -> tuple[Lines, list[str]]:
  """A file's lines in the order of their ids, and what is wrong."""
  make = {'multirc': _passages, 'record': _queries}.get(task.name, _rows)
  return make(task, split, records)


def _rows(task, split, records) -> tuple[Lines, list[str]]:
  """A line a row."""
  labels, problems = {}, []
  for record in records:
    number = _number(record.get('idx'))
    try:
      label = _written(task, record.get('prediction'))
    except ValueError as error:
      problems.append(f'index {record.get("idx")!r}: {error}')
      continue
    if number in labels:
      problems.append(f'index {number!r} repeated')
    labels[number] = label
  problems += _faults('index', labels, task.splits[split])
  if problems:
    return [], problems
  return [{'idx': n, 'label': labels[n]} for n in sorted(labels)], []


def _passages(task, split, records) -> tuple[Lines, list[str]]:
  """A line a passage, with the answers of its questions."""
  del split
  passages: dict[Any, dict[Any, dict[Any, int]]] = {}
  seen: set[Any] = set()
  problems = []
  for record in records:
    try:
      passage, question, answer = map(int, str(record.get('idx')).split('-'))
      label = _position(task, record.get('prediction'))
    except ValueError as error:
      problems.append(
        f'id {record.get("idx")!r}: {error}; expected passage-question-answer '
        f'and one of {list(task.labels)}'
      )
      continue
    if answer in seen:
      problems.append(f'answer {answer} repeated')
    seen.add(answer)
    questions = passages.setdefault(passage, {})
    questions.setdefault(question, {})[answer] = label
  asked = [q for questions in passages.values() for q in questions]
  for name, found, count in (
    ('answer', seen, _ANSWERS),
    ('question', asked, _QUESTIONS),
    ('passage', passages, _PASSAGES),
  ):
    problems += _faults(name, found, count)
  lines = [
    {
      'idx': passage,
      'passage': {
        'questions': [
          {
            'idx': question,
            'answers': [
              {'idx': answer, 'label': label}
              for answer, label in sorted(labels.items())
            ],
          }
          for question, labels in sorted(passages[passage].items())
        ]
      },
    }
    for passage in sorted(passages)
  ]
  return lines, problems


def _queries(task, split, records) -> tuple[Lines, list[str]]:
  """A line a query: its most probable entity, the first of equal ones."""
  del split
  best: dict[Any, tuple[float, str]] = {}
  problems = []
  for record in records:
    parts = str(record.get('idx')).split('-')
    entity, shares = record.get('candidate'), record.get('probabilities')
    share = shares.get(task.labels[-1]) if isinstance(shares, dict) else None
    if len(parts) != 3 or not isinstance(entity, str) or share is None:
      problems.append(
        f'id {record.get("idx")!r}: expected passage-query-entity, the '
        f"entity's text in 'candidate' and 'probabilities' of {task.labels}"
      )
      continue
    query = _number(parts[1])
    if query not in best or share > best[query][0]:
      best[query] = (share, entity)
  problems += _faults('query', best, _QUERIES)
  if problems:
    return [], problems
  return [{'idx': n, 'label': best[n][1]} for n in sorted(best)], []


def _faults(name: str, found: Any, count: int) -> list[str]:
  """What is wrong with ids that must be 0 to count - 1, each once."""
  wrong = [n for n in found if not (isinstance(n, int) and 0 <= n < count)]
  problems = [f'{name} {n!r}: expected 0 to {count - 1}' for n in wrong[:5]]
  missing = set(range(count)) - set(found)
  if missing:
    problems.append(
      f'{len(missing)} of {count} are missing, the first is {name} '
      f'{min(missing)}'
    )
  if len(found) > len(set(found)):
    problems.append(f'a {name} is in two places')
  return problems


def _number(idx: Any) -> Any:
  """A row's number; of AX-g the last part of its id."""
  text = str(idx).rpartition('-')[2] if isinstance(idx, str) else str(idx)
  return int(text) if re.fullmatch('[0-9]+', text) else str(idx)


def _position(task: Task, prediction: Any) -> int:
  names = task.labels or task.choices
  if prediction not in names:
    raise ValueError(
      f'unknown label {prediction!r}; expected one of {list(names)}'
    )
  return names.index(prediction)


def _written(task: Task, prediction: Any) -> Any:
  """A prediction as the board reads it."""
  place = _position(task, prediction)
  if task.choices:
    return place
  return prediction.lower() if task.name in _SMALL_LETTERS else prediction


def _filled(
  task: Task, split: str, answers: Sequence[str]
) -> tuple[Records, str]:
  """Records of a task that was not run, and how the report says so."""
  if task.name == 'record':
    shares = {task.labels[-1]: 0.0}
    entity = {'candidate': '', 'probabilities': shares}
    records = [{'idx': f'0-{i}-0', **entity} for i in range(_QUERIES)]
    return records, 'constant "": not run'
  name = (task.labels or task.choices)[0]
  ids: Sequence = range(task.splits[split] or 0)
  if task.name == 'multirc':
    if not answers:
      raise ValueError(
        'MultiRC.jsonl: not run, and filling it takes the ids of its test '
        'file: give --data_dir with superglue/MultiRC/test.jsonl'
      )
    ids = answers
  label = int(_position(task, name)) if task.name == 'multirc' else None
  shown = _written(task, name) if label is None else label
  records = [{'idx': i, 'prediction': name} for i in ids]
  return records, f'constant {shown}: not run'


def _read_file(where: str, task: Task, split: str, data: bytes) -> Lines:
  """The lines of one file; each as it would be written."""
  lines, records = [], []
  parts: dict[str, Callable] = {'multirc': _of_passage, 'record': _of_query}
  part = parts.get(task.name, _of_row)
  for number, text in enumerate(data.decode('utf-8').splitlines(), 1):
    try:
      line = json.loads(text)
      records += part(task, line)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
      raise ValueError(
        f'{where}:{number}: not a line of this file ({error!r}): {text[:80]}'
      ) from None
    lines.append(line)
  again, problems = _lines(task, split, records)
  if problems:
    raise ValueError(f'{where}: ' + '; '.join(submit.shortened(problems)))
  for number, (line, expected) in enumerate(zip(lines, again), 1):
    if line != expected:
      raise ValueError(f'{where}:{number}: {line} found, expected {expected}')
  return lines


def _of_row(task: Task, line: Any) -> Records:
  names = task.labels or task.choices
  by_form = {_written(task, name): name for name in names}
  label = line['label']
  if isinstance(label, bool) or label not in by_form:
    raise ValueError(f'label {label!r}, expected one of {list(by_form)}')
  return [{'idx': line['idx'], 'prediction': by_form[label]}]


def _of_passage(task: Task, line: Any) -> Records:
  return [
    {
      'idx': f'{line["idx"]}-{question["idx"]}-{answer["idx"]}',
      'prediction': task.labels[(0, 1).index(answer['label'])],
    }
    for question in line['passage']['questions']
    for answer in question['answers']
  ]


def _of_query(task: Task, line: Any) -> Records:
  shares = {task.labels[-1]: 0.0}
  if not isinstance(line['label'], str):
    raise ValueError(f'label {line["label"]!r}, expected the text of an entity')
  idx = f'0-{line["idx"]}-0'
  return [{'idx': idx, 'candidate': line['label'], 'probabilities': shares}]
