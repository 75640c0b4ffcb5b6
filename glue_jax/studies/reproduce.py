"""Runs a record's command again and compares what it gives with the record.

Where a figure is found (`Figure.read`), one of
  {"output": REGEX}     the groups of its last match on what the command prints;
                        with "count": true, the number of matches
  {"file": FILE, "where": {...}, "key": "a/b"}
FILE is JSON, JSON lines or CSV, in which the rows with the values of `where`
are taken and of each the `key`; `{seed}` in FILE stands for each seed of the
record. A key that holds a list gives one value a seed. `times` multiplies, and
`over`, another {"where", "key"} of the same file, divides.
"""

import csv
import dataclasses
import json
import os
import pathlib
import re
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from glue_jax.reporting import files
from glue_jax.studies import records

# Place in a command -> (environment variable that names it, what must be there)
PLACES: dict[str, tuple[str | None, str]] = {
  'data_dir': ('GLUE_JAX_DATA', 'folders of the GLUE tasks: RTE/train.tsv ...'),
  'weights': ('GLUE_JAX_WEIGHTS', 'Hugging Face folder of all-MiniLM-L6-v2'),
  'corpus': ('GLUE_JAX_CORPUS', 'train/ and valid/ of English text files'),
  'suites_dir': (None, 'glue/ and superglue/, folders of their tasks'),
  'imdb_dir': (None, 'train.jsonl.gz and test_10k.jsonl.gz of IMDB'),
  'polish_dir': (None, 'folders of Polish tasks: CDS, WCCRS_HOTELS, ...'),
  'polish_corpus': (None, 'train/ and valid/ of Polish text files'),
  'novels': (None, 'folder of English text files to select from'),
  'wikitext': (None, 'folder of WikiText-2'),
  'out': (None, 'folder for what the commands leave'),
}
# Band -> how a person reads it beside the figure.
BANDS = {
  'within': '± {:g}',
  'relative': '± {:.0%}',
  'at_least': '>= {:g}',
  'at_most': '<= {:g}',
}
_PLACE = re.compile(r'\{(\w+)\}')


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What came of a record.

  Attributes:
    status: 'inside', 'outside' its bands, 'failed' or 'not run'.
    reason: of the last two.
    values: one list a figure, a number a seed; None where nothing was read.
    minutes: that it took.
  """

  status: str
  reason: str = ''
  values: Sequence[Sequence[float] | None] = ()
  minutes: float = 0.0


def needed(record: records.Record) -> set[str]:
  """Returns the places that a record's commands and figures name.

  Raises:
    ValueError: a place that PLACES doesn't have.
  """
  texts = [record.command, record.smoke]
  texts += [figure.read.get('file', '') for figure in record.figures]
  names = set(_PLACE.findall(' '.join(texts))) - {'seed'}
  unknown = sorted(names - set(PLACES))
  if unknown:
    raise ValueError(
      f'record {record.name}: unknown places {unknown}; there are '
      f'{sorted(PLACES)}'
    )
  return names


def fill(text: str, places: Mapping[str, str], quoted: bool = True) -> str:
  """Returns a text with every {place} replaced, quoted for a shell or not."""

  def value(match):
    place = places[match[1]]
    return shlex.quote(place) if quoted else place

  known = '|'.join(places)
  return re.sub(rf'\{{({known})\}}', value, text) if places else text


def run(
  record: records.Record, places: Mapping[str, str], smoke: bool = False
) -> Outcome:
  """Runs a record's commands in a process each and reads its figures.

  Args:
    record: to be run.
    places: {place: folder}; 'out' is the record's own folder.
    smoke: with the flags that make it short; then a figure may be missed, and
      it is enough that some of the figures are found.
  """
  missing = sorted(needed(record) - set(places))
  if missing:
    flags = ', '.join(f'--{name}' for name in missing)
    return Outcome('not run', f'needs {flags}')
  folder = pathlib.Path(places['out'])
  folder.mkdir(parents=True, exist_ok=True)
  start, output = time.perf_counter(), ''
  commands = record.smoke_commands() if smoke else record.commands()
  for command in commands:
    done = _shell(fill(command, places))
    output += done.stdout
    (folder / 'output.txt').write_text(output + done.stderr)
    if done.returncode and not _only_missed(command, done):
      *_, last = (done.stdout + done.stderr).strip().splitlines() or ['']
      return Outcome('failed', f'exit status {done.returncode}: {last}')
  minutes = (time.perf_counter() - start) / 60
  values, reasons = [], []
  for figure in record.figures:
    try:
      values.append(read(figure.read, places, record.seeds, output))
    except (ValueError, OSError) as error:
      values.append(None)
      reasons.append(f'{figure.row}, {figure.column}: {error}')
  if reasons and (not smoke or len(reasons) == len(values)):
    return Outcome('failed', reasons[0], values, minutes)
  if smoke:
    return Outcome('inside', '', values, minutes)
  return judged(record, values, minutes)


def judged(
  record: records.Record,
  values: Sequence[Sequence[float] | None],
  minutes: float,
) -> Outcome:
  """Returns what values, one list a figure, are beside the record's bands."""
  good = all(map(inside, record.figures, values))
  return Outcome('inside' if good else 'outside', '', values, minutes)


def _only_missed(command: str, done: subprocess.CompletedProcess) -> bool:
  """Whether a miniature ran to its end and only missed what it requires.

  Its figures then tell by how much, and in few steps it is no failure.
  """
  ran = done.returncode == 1 and 'Traceback' not in done.stderr
  return ran and 'launch.miniature' in command


def _shell(command: str) -> subprocess.CompletedProcess:
  """Runs a line with this Python first in the path."""
  path = f'{pathlib.Path(sys.executable).parent}:{os.environ.get("PATH", "")}'
  return subprocess.run(
    ['bash', '-c', command],
    cwd=records.ROOT,
    env=dict(os.environ, PATH=path),
    capture_output=True,
    text=True,
  )


def inside(figure: records.Figure, values: Sequence[float] | None) -> bool:
  """Whether new values are within the figure's band.

  Bounds hold for every seed, differences to the recorded value for the mean.
  """
  if values is None:
    return False
  away = abs(statistics.mean(values) - figure.value)
  holds = {
    'within': lambda bound: away <= bound,
    'relative': lambda bound: away <= bound * abs(figure.value),
    'at_least': lambda bound: min(values) >= bound,
    'at_most': lambda bound: max(values) <= bound,
  }
  return all(holds[name](bound) for name, bound in figure.band.items())


def read(
  spec: Mapping[str, Any],
  places: Mapping[str, str],
  seeds: Sequence[int],
  output: str,
) -> list[float]:
  """Returns the numbers that a figure's `read` finds, one a seed.

  Args:
    spec: see the file's header.
    places: {place: folder}.
    seeds: of the record.
    output: what the commands printed.

  Raises:
    ValueError: nothing is found there.
    OSError: the file isn't there.
  """
  if 'output' in spec:
    matches = list(re.finditer(spec['output'], output, re.MULTILINE))
    if spec.get('count'):
      return [float(len(matches))]
    if not matches:
      raise ValueError(f'{spec["output"]!r} matches nothing of the output')
    groups = [group for group in matches[-1].groups() if group is not None]
    values = [float(group.replace(',', '')) for group in groups]
  else:
    path = fill(spec['file'], places, quoted=False)
    each = seeds if '{seed}' in path else [None]
    values = []
    for seed in each:
      content = _content(pathlib.Path(path.replace('{seed}', str(seed))))
      numbers = _pick(content, spec)
      if 'over' in spec:
        below = _pick(content, spec['over'])
        numbers = [a / b for a, b in zip(numbers, below, strict=True)]
      values += numbers
  return [value * spec.get('times', 1) for value in values]


def _content(path: pathlib.Path) -> Any:
  if path.suffix == '.jsonl':
    return files.read_lines(path)
  if path.suffix == '.csv':
    with path.open(newline='') as file:
      return list(csv.DictReader(file))
  return json.loads(path.read_text())


def _pick(content: Any, spec: Mapping[str, Any]) -> list[float]:
  """The numbers at a key, of the rows that are asked for."""
  where, key = spec.get('where', {}), spec['key']
  if isinstance(content, list):
    content = [row for row in content if where.items() <= row.items()]
  else:
    content = [content]
  values = []
  for value in content:
    for part in key.split('/'):
      if isinstance(value, list) and part.isdigit():
        value = value[int(part)] if int(part) < len(value) else None
      else:
        value = value.get(part) if isinstance(value, Mapping) else None
    values += value if isinstance(value, list) else [value]
  try:
    numbers = [float(value) for value in values]
  except (TypeError, ValueError):
    numbers = []
  if not numbers:
    raise ValueError(f'no number at {key!r} of {dict(where) or "the file"}')
  return numbers


def rows(record: records.Record, outcome: Outcome) -> list[dict[str, Any]]:
  """Returns published, recorded and new values side by side, a row a figure."""
  table = []
  pairs = zip(record.figures, outcome.values or [None] * len(record.figures))
  for figure, values in pairs:
    now = None
    if values:
      now = f'{statistics.mean(values):.4g}'
      if len(values) > 1:
        now += f' ± {statistics.stdev(values):.2g}'
    recorded = f'{figure.value:.4g}'
    if figure.spread is not None:
      recorded += f' ± {figure.spread:.2g}'
    bounds = (BANDS[name].format(bound) for name, bound in figure.band.items())
    table.append({
      'row': figure.row,
      'column': figure.column,
      'published': figure.published,
      'recorded': recorded,
      'now': now,
      'band': ', '.join(bounds) or None,
      'within': None if values is None else inside(figure, values),
    })  # fmt: skip
  return table


def chosen(
  known: Mapping[str, records.Record], names: Sequence[str]
) -> list[records.Record]:
  """Returns the records of these names, all if there are none.

  Raises:
    ValueError: a name that no record has.
  """
  unknown = sorted(set(names) - set(known))
  if unknown:
    raise ValueError(f'no records {unknown}; --list shows those there are')
  return [known[name] for name in names or known]
