"""What the leaderboard owns: tasks, their metrics, and the gold labels.

`registry.json` lists the tasks; `gold/<task>.jsonl` holds one row an example:
`idx` and `label` (or `answers`, a list of texts), and `group` where a metric
needs one. A contributor can choose none of it. The SHA-256 of every gold file
stands in the registry and is compared whenever the file is read.
"""

import dataclasses
import hashlib
import json
import math
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from glue_jax.leaderboard import safety
from glue_jax.reporting import files

VERSION = 1
HIDDEN = 'hidden'
KINDS: dict[str, tuple[str, ...]] = {
  'classification': (
    'accuracy',
    'f1',
    'macro_f1',
    'matthews',
    'exact_match',
    'gender_parity',
  ),
  'regression': ('pearson', 'spearman', 'mean_squared_error'),
  'text': ('f1', 'exact_match'),
}
GROUPED = ('exact_match', 'gender_parity')  # of a classification task
RULES = ('squad_v1', 'squad_v2', 'record')
LOWER_IS_BETTER = ('mean_squared_error',)


@dataclasses.dataclass(frozen=True)
class Entry:
  """A task of the leaderboard.

  Attributes:
    name: of its folder in a contribution.
    version: of the data set, e.g. 'glue 2.0.0'.
    split: the split that is scored.
    kind: one of KINDS.
    metrics: computed and shown.
    primary: the one of them that ranks.
    labels: class names in id order; empty for other kinds.
    gold: file beside registry.json, or 'hidden'.
    sha256: of the gold file.
    rows: examples in it.
    boards: benchmarks whose average it enters ('glue', 'superglue').
    rule: which script compares texts (RULES); '' for other kinds.
  """

  name: str
  version: str
  split: str
  kind: str
  metrics: tuple[str, ...]
  primary: str
  labels: tuple[str, ...] = ()
  gold: str = HIDDEN
  sha256: str = ''
  rows: int = 0
  boards: tuple[str, ...] = ()
  rule: str = ''

  @property
  def higher_is_better(self) -> bool:
    """Direction of the primary metric."""
    return self.primary not in LOWER_IS_BETTER

  @property
  def random_guessing(self) -> float | None:
    """Accuracy of guessing: 1 / number of classes; None without classes."""
    return 1 / len(self.labels) if self.labels else None

  def label_id(self, value: object) -> int:
    """Class id of a label given by name, by number, or as a boolean.

    Raises:
      Refused: not one of the labels.
    """
    # JSON's true is the label 'True' (WSC) or 'true' (BoolQ).
    texts = [str(value), str(value).lower()]
    names = texts if isinstance(value, bool) else texts[:1]
    if isinstance(value, (str, bool)):
      for name in names:
        if name in self.labels:
          return self.labels.index(name)
    elif isinstance(value, int) and 0 <= value < len(self.labels):
      return value
    raise safety.Refused(
      f'label {safety.shown(value)} is none of {list(self.labels)} (or its '
      'number)'
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Gold:
  """The right answers of a task, n rows.

  Attributes:
    ids: {id as text: row}.
    labels: (n,) class ids or numbers; None for texts.
    answers: n lists of texts; None for other kinds.
    groups: (n,) group numbers from 0; None where no metric needs them.
  """

  ids: Mapping[str, int]
  labels: np.ndarray | None
  answers: tuple[tuple[str, ...], ...] | None = None
  groups: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Registry:
  """All tasks, and the folder that holds registry.json."""

  folder: pathlib.Path
  tasks: Mapping[str, Entry]

  def task(self, name: str) -> Entry:
    """Returns a task.

    Raises:
      Refused: there is none of this name.
    """
    if name not in self.tasks:
      raise safety.Refused(
        f'unknown task {safety.shown(name)}; the registry has '
        f'{sorted(self.tasks)}'
      )
    return self.tasks[name]

  def gold(self, name: str) -> Gold:
    """Reads the gold of a task.

    Raises:
      ValueError: hidden, changed, or malformed, with file and line.
    """
    entry = self.task(name)
    if entry.gold == HIDDEN:
      raise ValueError(
        f'{hidden_line(self.folder, name)}: the gold of {name} is hidden, so '
        'nothing can be scored; the registry must name a public split'
      )
    path = self.folder / entry.gold
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != entry.sha256:
      raise ValueError(
        f'{path}:1: SHA-256 {digest}, but the registry has '
        f'{entry.sha256 or "none"}; the gold was changed'
      )
    return parse_gold(entry, data, str(path))


def hidden_line(folder: pathlib.Path, name: str) -> str:
  """`registry.json:line` of a task's entry."""
  path = folder / 'registry.json'
  data = path.read_bytes()
  at = data.find(f'"name": {json.dumps(name)}'.encode())
  line = data.count(b'\n', 0, max(at, 0)) + 1
  return f'{path}:{line}'


def load(folder: str | os.PathLike) -> Registry:
  """Reads `registry.json` of a folder and checks every entry.

  Raises:
    FileNotFoundError: there is none.
    ValueError: malformed; names file and line.
  """
  folder = pathlib.Path(folder)
  path = folder / 'registry.json'
  if not path.is_file():
    raise FileNotFoundError(
      f'{path} is missing; `python -m launch.leaderboard gold` writes one'
    )
  data = path.read_bytes()
  limits = safety.DEFAULT
  content = safety.parse_document(data, str(path), limits)
  if not isinstance(content, dict) or content.get('schema_version') != VERSION:
    raise ValueError(f'{path}:1: expected schema_version {VERSION}')
  tasks = {}
  for fields in content.get('tasks', []):
    if not isinstance(fields, dict):
      raise ValueError(f'{path}:1: task {fields!r}; expected an object')
    line = safety.line_of(data, str(fields.get('name', 'name')))
    try:
      entry = _entry(fields)
    except (TypeError, ValueError) as error:
      raise ValueError(f'{path}:{line}: {error}') from None
    if entry.name in tasks:
      raise ValueError(f'{path}:{line}: task {entry.name} occurs twice')
    tasks[entry.name] = entry
  if not tasks:
    raise ValueError(f'{path}:1: no task')
  return Registry(folder, tasks)


def _entry(fields: Mapping[str, Any]) -> Entry:
  known = {field.name for field in dataclasses.fields(Entry)}
  unknown = sorted(set(fields) - known)
  if unknown:
    raise ValueError(f'unknown keys {unknown}; known are {sorted(known)}')
  fields = {
    k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()
  }
  entry = Entry(**fields)
  safety.check_name(entry.name, 'task')
  if entry.kind not in KINDS:
    raise ValueError(f'kind {entry.kind!r}; expected one of {list(KINDS)}')
  odd = sorted(set(entry.metrics) - set(KINDS[entry.kind]))
  if odd or not entry.metrics:
    raise ValueError(f'metrics {odd}; {entry.kind} has {KINDS[entry.kind]}')
  if entry.primary not in entry.metrics:
    raise ValueError(f'primary {entry.primary!r} is not in {entry.metrics}')
  if bool(entry.labels) != (entry.kind == 'classification'):
    raise ValueError(f'labels {entry.labels} do not fit kind {entry.kind}')
  if (entry.kind == 'text') != (entry.rule in RULES):
    raise ValueError(f'rule {entry.rule!r}; a text task has one of {RULES}')
  if entry.gold != HIDDEN:
    for part in entry.gold.split('/'):
      safety.check_name(part, 'part of gold')
  return entry


def parse_gold(entry: Entry, data: bytes, where: str) -> Gold:
  """Parses a gold file.

  Args:
    entry: the task.
    data: the file's bytes.
    where: file name for errors.

  Raises:
    ValueError: hidden or wrong label, double id, wrong row count; with line.
  """
  ids, values, groups, group_ids = {}, [], [], {}
  wants_group = any(m in GROUPED for m in entry.metrics)
  wants_group = wants_group and entry.kind == 'classification'
  key = 'answers' if entry.kind == 'text' else 'label'
  for number, line in enumerate(data.splitlines(), 1):
    text = safety.decode(line, where, number)
    row = safety.parse_text(text, where, number)
    expected = {'idx', key} | ({'group'} if wants_group else set())
    if not isinstance(row, dict) or set(row) != expected:
      raise ValueError(f'{where}:{number}: expected keys {sorted(expected)}')
    if str(row['idx']) in ids:
      raise ValueError(f'{where}:{number}: id {row["idx"]} occurs twice')
    ids[str(row['idx'])] = len(ids)
    try:
      values.append(_gold_value(entry, row[key]))
    except ValueError as error:
      raise ValueError(f'{where}:{number}: {error}') from None
    if wants_group:
      name = json.dumps(row['group'])
      groups.append(group_ids.setdefault(name, len(group_ids)))
  if len(ids) != entry.rows:
    raise ValueError(
      f'{where}:{len(ids)}: {len(ids)} rows; the registry has {entry.rows}'
    )
  grouped = np.asarray(groups) if wants_group else None
  if entry.kind == 'text':
    return Gold(ids, None, tuple(values), grouped)
  return Gold(ids, np.asarray(values), None, grouped)


def _gold_value(entry: Entry, value: Any) -> Any:
  if entry.kind == 'text':
    if not isinstance(value, list) or not all(
      isinstance(text, str) for text in value
    ):
      raise ValueError(f'answers {safety.shown(value)}; expected texts')
    return tuple(value)
  if value is None or value == -1:
    raise ValueError(
      f'label {value} stands for a hidden one; gold needs a split with labels'
    )
  if entry.kind == 'classification':
    return entry.label_id(value)
  if isinstance(value, bool) or not isinstance(value, (int, float)):
    raise ValueError(f'label {safety.shown(value)}; expected a number')
  if not math.isfinite(value):
    raise ValueError(f'label {value} is not finite')
  return float(value)


def gold_bytes(rows: Iterable[Mapping[str, Any]]) -> bytes:
  """A gold file's content."""
  return ''.join(json.dumps(dict(row)) + '\n' for row in rows).encode()


def gold_hash(rows: Iterable[Mapping[str, Any]]) -> str:
  """SHA-256 of the gold file that these rows make."""
  return hashlib.sha256(gold_bytes(rows)).hexdigest()


def write(
  folder: str | os.PathLike,
  entries: Sequence[Entry],
  rows: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Registry:
  """Writes registry.json and the gold files, read back before they are there.

  Args:
    folder: made if it is not there.
    entries: the tasks; gold, sha256 and rows are filled in here for those
      that have rows, the others are hidden.
    rows: {task: gold rows with 'idx' and 'label' or 'answers'}.
  """
  with files.whole_folder(folder) as part:
    _write(part, entries, rows)
    read_back = load(part)
    for name in rows:
      read_back.gold(name)
  return load(folder)


def _write(folder, entries, rows) -> None:
  listed = []
  for entry in entries:
    if entry.name in rows:
      data = gold_bytes(rows[entry.name])
      path = folder / 'gold' / f'{entry.name}.jsonl'
      path.parent.mkdir(exist_ok=True)
      path.write_bytes(data)
      entry = dataclasses.replace(
        entry,
        gold=f'gold/{entry.name}.jsonl',
        sha256=hashlib.sha256(data).hexdigest(),
        rows=len(rows[entry.name]),
      )
    listed.append(dataclasses.asdict(entry))
  text = json.dumps({'schema_version': VERSION, 'tasks': listed}, indent=2)
  files.replace_text(folder / 'registry.json', text + '\n')
