"""Checks a contribution and reads its predictions.

Layout of `contributions/<method>/` (or `<method>.zip` with the same inside):

  metadata.json                           see `metadata`
  run.sh, config.py, config.json          one of them at least; only shown
  <task>/predictions.jsonl                one run, or
  <task>/seeds/<k>/predictions.jsonl      one folder a seed

or predictions.tsv, see `predictions`. Every problem is one line,
`file:line: what`.
"""

import dataclasses
import hashlib
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from glue_jax.leaderboard import safety
from glue_jax.leaderboard.contribution import archive, metadata, predictions
from glue_jax.leaderboard.registry import Entry, Gold, Registry
from glue_jax.leaderboard.safety import Limits, Refused, shown

SCRIPTS = ('run.sh', 'config.py', 'config.json')
_SCRIPT_BYTES = 65_536
_FILE = re.compile(
  r'([^/]+)/(?:seeds/([0-9]{1,9})/)?predictions\.(?:jsonl|tsv)'
)


@dataclasses.dataclass
class Contribution:
  """The files of a method, listed and read, nothing of them believed yet.

  Attributes:
    method: its name.
    path: folder or zip.
    metadata: of metadata.json; {} if that was refused.
    scripts: {name: text} of what is only shown.
    files: {task: {seed: (name, bytes)}}; seed None for a single run.
    digest: SHA-256 of all files that count.
    problems: one line each; a contribution with any is not shown.
  """

  method: str
  path: pathlib.Path
  metadata: dict[str, Any] = dataclasses.field(default_factory=dict)
  scripts: dict[str, str] = dataclasses.field(default_factory=dict)
  files: dict[str, dict[int | None, tuple[str, bytes]]] = dataclasses.field(
    default_factory=dict
  )
  digest: str = ''
  problems: list[str] = dataclasses.field(default_factory=list)


def read(
  path: str | os.PathLike, limits: Limits = safety.DEFAULT
) -> Contribution:
  """Lists and reads the files of a contribution; problems are collected.

  Args:
    path: a folder, or a file ending in .zip.
    limits: see safety.Limits.
  """
  path = pathlib.Path(path)
  method = path.stem if path.suffix == '.zip' else path.name
  contribution = Contribution(shown(method, 100).strip("'"), path)
  try:
    contribution.method = safety.check_name(
      method, f'{shown(str(path), 200)}:0: name'
    )
    source = archive.open_files(path, limits)
    _read_files(contribution, source, limits)
  except Refused as error:
    contribution.problems.append(str(error))
  except OSError as error:
    contribution.problems.append(f'{shown(str(path), 200)}:0: {error.strerror}')
  contribution.problems[:] = map(safety.printable, contribution.problems)
  return contribution


def _read_files(contribution, source, limits) -> None:
  digest = hashlib.sha256()
  for name in source.names:
    where = f'{contribution.path}/{name}'
    match = _FILE.fullmatch(name)
    if not match and name not in ('metadata.json', *SCRIPTS):
      contribution.problems.append(
        f'{contribution.path}/{shown(name).strip(chr(39))}:0: unexpected file; '
        f'expected metadata.json, {", ".join(SCRIPTS)}, '
        '<task>/predictions.jsonl or <task>/seeds/<k>/predictions.jsonl'
      )
      continue
    most = None if match else limits.json_bytes + 1  # metadata.py says which
    data = source.read(name, _SCRIPT_BYTES if name in SCRIPTS else most)
    digest.update(f'{name}\0{len(data)}\0'.encode())
    digest.update(data)
    try:
      if match:
        _add_file(contribution, match, name, data)
      elif name == 'metadata.json':
        contribution.metadata = metadata.parse(
          data, where, contribution.method, limits
        )
      else:
        contribution.scripts[name] = _script(data, where)
    except Refused as error:
      contribution.problems.append(str(error))
  contribution.digest = digest.hexdigest()
  for name, there in (
    ('metadata.json', 'metadata.json' in source.names),
    (
      ' or '.join(SCRIPTS),
      contribution.scripts or set(SCRIPTS) & set(source.names),
    ),
    ('<task>/predictions.jsonl', contribution.files),
  ):
    if not there:
      contribution.problems.append(f'{contribution.path}:0: no {name}')


def _script(data: bytes, where: str) -> str:
  text = safety.decode(data, where, 1).replace('\r\n', '\n')
  for number, line in enumerate(text.split('\n'), 1):
    safety.check_text(
      line.replace('\t', ' '), f'{where}:{number}: line', _SCRIPT_BYTES
    )
  return text


def _add_file(contribution, match, name, data) -> None:
  task, seed = match.group(1), match.group(2)
  safety.check_name(task, f'{contribution.path}:0: task')
  runs = contribution.files.setdefault(task, {})
  seed = None if seed is None else int(seed)
  if seed in runs or (runs and (seed is None) != (None in runs)):
    raise Refused(
      f'{contribution.path}/{name}:0: {task} has predictions twice; give '
      'one file, or one a seed in seeds/<k>/'
    )
  runs[seed] = (name, data)


def load(
  contribution: Contribution,
  registry: Registry,
  limits: Limits = safety.DEFAULT,
) -> dict[str, dict[int, Any]]:
  """Reads all predictions against the gold; adds to its `problems`.

  Args:
    contribution: from `read`.
    registry: the leaderboard's tasks.
    limits: see safety.Limits.

  Returns:
    {task: {seed: predictions in gold's order}}, without files that have
    problems.
  """
  parsed: dict[str, dict[int, Any]] = {}
  for task, runs in contribution.files.items():
    first = contribution.path / next(iter(runs.values()))[0]
    try:
      entry = registry.task(task)
      gold_rows = gold(registry, task)
      seeds = _seeds(contribution, entry, runs)
    except FileNotFoundError as error:
      contribution.problems.append(f'{first}:1: gold of {task}: {error}')
      continue
    except ValueError as error:
      text = str(error)
      known = text.startswith(str(contribution.path))
      contribution.problems.append(text if known else f'{first}:1: {text}')
      continue
    for seed, (name, data) in zip(seeds, runs.values()):
      where = f'{contribution.path}/{name}'
      values, problems = predictions.parse(
        entry, gold_rows, data, where, limits
      )
      contribution.problems += problems
      if not problems:
        parsed.setdefault(task, {})[seed] = values
  missing = sorted(
    set(contribution.metadata.get('runs', ())) - set(contribution.files)
  )
  if missing:
    contribution.problems.append(
      f'{contribution.path}/metadata.json:1: runs without predictions: '
      f'{missing}'
    )
  contribution.problems[:] = map(safety.printable, contribution.problems)
  return parsed


def gold(registry: Registry, task: str) -> Gold:
  """Returns the gold of a task, read once a process."""
  cache = _GOLD.setdefault(str(registry.folder), {})
  sha = registry.task(task).sha256
  if task not in cache or cache[task][0] != sha:
    cache[task] = (sha, registry.gold(task))
  return cache[task][1]


_GOLD: dict[str, dict[str, tuple[str, Gold]]] = {}


def _seeds(
  contribution: Contribution, entry: Entry, runs: Mapping
) -> list[int]:
  """Numbers of the runs; compares them with the metadata."""
  if not contribution.metadata:
    return [0 if seed is None else seed for seed in runs]
  where = f'{contribution.path}/metadata.json'
  run = contribution.metadata['runs'].get(entry.name)
  if run is None:
    raise Refused(f'{where}:1: runs lacks {entry.name}')
  dataset = run['dataset']
  if dataset['version'] != entry.version:
    raise Refused(
      f'{where}:1: {entry.name} was run on {shown(dataset["version"])}; the '
      f'registry has {entry.version!r}'
    )
  if dataset.get('sha256', entry.sha256) != entry.sha256:
    raise Refused(
      f'{where}:1: {entry.name}: SHA-256 {dataset["sha256"]} of the labels '
      f"differs from the registry's {entry.sha256}: other rows were predicted"
    )
  seeds = run['seeds']
  given = seeds if list(runs) == [None] and len(seeds) == 1 else list(runs)
  if sorted(given) != sorted(set(seeds)) or len(set(seeds)) < len(seeds):
    raise Refused(
      f'{where}:1: {entry.name} lists seeds {seeds[:10]}; the predictions '
      f'are of {sorted(given, key=str)[:10]}'
    )
  return given
