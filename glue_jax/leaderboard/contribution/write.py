"""Writes a contribution from finished runs, its metadata from their records.

A run's folder holds config.json, run.json and `predictions/<split>.jsonl` (see
glue_jax.reporting.run_record). Several seeds are several folders, or a workdir
that holds them; stages too. A method grows task by task: what a folder has of
other tasks stays.
"""

import dataclasses
import datetime
import hashlib
import json
import os
import pathlib
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from glue_jax.data.tasks import by_name
from glue_jax.leaderboard import registry, safety
from glue_jax.leaderboard.contribution import metadata, predictions
from glue_jax.reporting import files
from glue_jax.weights import run_folder

REPRODUCE = """#!/bin/sh
# Trains the runs behind this contribution and predicts with them again.
# GLUE_JAX_DATA is the data folder, GLUE_JAX_WEIGHTS the checkpoint's.
set -e
"""

_MACHINE = (
  '--workdir',
  '--config.data.data_dir',
  '--config.data.cache_dir',
  '--config.data.tokenizer',
  '--config.model.weights',
)
_SAID = (
  'authors',
  'contact',
  'description',
  'variant',
  'paper',
  'licence',
  'extra_data',
  'search_trials',
)


@dataclasses.dataclass(frozen=True)
class Author:
  """What no run record knows.

  Attributes:
    authors: names.
    contact: e-mail or web address.
    description: of the method.
    variant: which one of several.
    paper: address, or ''.
    repository: address of the code, or ''.
    licence: of the predictions.
    extra_data: other data that was learnt from; ('none',) for none.
    search_trials: runs tried before the settings were chosen.
  """

  authors: tuple[str, ...]
  contact: str
  description: str = ''
  variant: str = ''
  paper: str = ''
  repository: str = ''
  licence: str = 'CC0-1.0'
  extra_data: tuple[str, ...] = ('none',)
  search_trials: int = 0


@dataclasses.dataclass(frozen=True)
class Run:
  """One seed's predictions and how they came about.

  Attributes:
    task: name in glue_jax.data.tasks.by_name.
    split: what was predicted.
    seed: of the run.
    rows: {'idx', 'prediction'}, and 'label' where the split has labels.
    record: content of run.json.
  """

  task: str
  split: str
  seed: int
  rows: Sequence[Mapping[str, Any]]
  record: Mapping[str, Any]


def entry_name(task: str, split: str) -> str:
  """Name of a task in the registry: MNLI's two halves are two tasks."""
  half = re.fullmatch(r'(?:validation|test)_(\w+)', split)
  return f'{task}_{half.group(1)}' if half else task


def version(task: str) -> str:
  """Version of a task's data as the registry names it: 'glue 2.0.0'."""
  record = by_name.get(task)
  family = record.tfds.split('/')[0]
  known = {'glue': 'glue 2.0.0', 'squad': 'squad 3.0.0'}
  return known.get(family, 'generated, seed 0' if record.generated else 'own')


def gold_row(row: Mapping[str, Any]) -> dict[str, Any]:
  """A row of gold from a labelled row: 'idx' and 'label', a name or number.

  Numbers pass through float32 on their way to a run's predictions; the
  shortest decimal of that precision is the one in the data.
  """
  label = row['label']
  if isinstance(label, float):
    label = float(str(np.float32(label)))
  return {'idx': row['idx'], 'label': label}


def find_runs(
  folders: Sequence[str | os.PathLike],
  seed: int | None = None,
  stage: str | None = None,
) -> list[pathlib.Path]:
  """Folders of the single runs in workdirs: every stage, every seed.

  Args:
    folders: workdirs of launch.train.
    seed: only this one of several.
    stage: only this one of several.

  Raises:
    ValueError: there is no such run in one of them.
    FileNotFoundError: one has not ended.
  """
  runs = [
    run.path
    for folder in folders
    for run in run_folder.list_runs(folder, stage, seed)
  ]
  for path in runs:
    if not (path / 'run.json').is_file():
      raise FileNotFoundError(
        f'{path}/run.json is missing; expected a finished run of launch.train'
      )
  return runs


def read_run(folder: pathlib.Path, split: str | None = None) -> Run:
  """Reads a finished run and the predictions that it left.

  Args:
    folder: of one seed.
    split: which split; None = the only one of the run's evaluation.

  Raises:
    ValueError: several splits and none chosen.
    FileNotFoundError: the run did not predict this split.
  """
  record = json.loads((folder / 'run.json').read_text())
  names = sorted(p.stem for p in (folder / 'predictions').glob('*.jsonl'))
  if split is None and len(names) != 1:
    raise ValueError(f'{folder} predicted {names}; choose one with --split')
  split = split or names[0]
  if split not in names:
    raise FileNotFoundError(
      f'{folder}/predictions has {names}, no {split}; '
      'launch.predict --contribution writes others'
    )
  lines = (folder / 'predictions' / f'{split}.jsonl').read_text().splitlines()
  rows = [json.loads(line) for line in lines]
  seed = record['result']['seed']
  return Run(record['task'], split, int(seed), rows, record)


def costs(
  runs: Sequence[Run], sha256: str, before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
  """The part of the metadata for one task: see metadata.py, 'runs'.

  Args:
    runs: new seeds of one task.
    sha256: of the gold rows; '' where the split has no labels.
    before: this part as it stood; its seeds stay.

  Returns:
    Training time is the mean over seeds, memory the largest.

  Raises:
    ValueError: the runs are not those of the earlier seeds' config or data.
  """
  first = runs[0].record
  hashes = {config_hash(run.record['config']) for run in runs}
  old = dict(before or {})
  known = old.get('seeds', [])
  if len(hashes | {old.get('config_hash', min(hashes))}) > 1:
    raise ValueError(
      f'{runs[0].task}: seeds of different configs {sorted(hashes)}, earlier '
      f'{old.get("config_hash", "none")}; a contribution has one config a '
      'task, remove its folder and its entry in metadata.json first'
    )
  new = [run for run in runs if run.seed not in known]
  spent = old.get('train', {}).get('seconds', 0.0) * len(known)
  spent += sum(run.record['seconds'] for run in new)
  peaks = [max(run.record['peak_memory_bytes'].values()) for run in runs]
  changed = [(run.record.get('git') or {}).get('changed', True) for run in runs]
  dataset = {'version': version(runs[0].task)}
  if sha256:
    dataset['sha256'] = sha256
  if old and old['dataset'] != dataset:
    raise ValueError(f'{runs[0].task}: other rows than the earlier seeds')
  hardware = ', '.join(first['devices']['kinds'])
  if first['devices']['platform'] == 'cpu':
    hardware = f'{first["host"]["machine"]} CPU, {first["host"]["cpus"]} core'
    hardware += 's' * (first['host']['cpus'] > 1)
  trained = first['parameters_trained']
  marked = [run.record['result'].get('transductive', False) for run in runs]
  transductive = any(marked) or old.get('transductive', False)
  return {
    'params_total': first['parameters'],
    'params_trainable': trained,
    # What differs from the checkpoint is what must be kept for a task.
    'params_stored_per_task': trained,
    'train': {
      'hardware': hardware,
      'device_count': first['devices']['count'],
      'seconds': round(spent / (len(known) + len(new)), 3),
      'peak_memory_bytes': max(
        [*peaks, old.get('train', {}).get('peak_memory_bytes', 0)]
      ),
    },
    'seeds': sorted({*known, *(run.seed for run in runs)}),
    'config_hash': hashes.pop(),
    'git_dirty': any(changed) or old.get('git_dirty', False),
    'dataset': dataset,
  } | ({'transductive': True} if transductive else {})


def config_hash(config: Mapping[str, Any]) -> str:
  """SHA-256 of a config without its seeds."""
  rest = {k: v for k, v in config.items() if k != 'seeds'}
  return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def write(
  folder: str | pathlib.Path,
  runs: Sequence[Run],
  author: Author | None = None,
) -> list[str]:
  """Writes or extends a contribution; its folder's name is the method's.

  Args:
    folder: `contributions/<method>`.
    runs: seeds of one or more tasks, one split each.
    author: what the records don't know; None keeps what metadata.json says.

  Returns:
    Names of the files written.

  Raises:
    ValueError: no author, two runs of one seed, seeds that predicted other
      rows, or metadata that the leaderboard would refuse.
  """
  folder = pathlib.Path(folder)
  method = safety.check_name(folder.name, 'method')
  groups: dict[str, list[Run]] = {}
  for run in sorted(runs, key=lambda run: (run.task, run.seed)):
    groups.setdefault(entry_name(run.task, run.split), []).append(run)
  if not groups:
    raise ValueError('no runs to contribute')
  path = folder / 'metadata.json'
  before = json.loads(path.read_text()) if path.is_file() else {}
  texts: dict[str, str] = {}
  parts = dict(before.get('runs', {}))
  for task, members in groups.items():
    seeds = [run.seed for run in members]
    if len(set(seeds)) < len(seeds):
      raise ValueError(f'{task}: seeds {seeds} hold one twice')
    parts[task] = costs(members, _gold_hash(task, members), parts.get(task))
    for run in members:
      rows = (
        (row.get('id', row['idx']), row['prediction']) for row in run.rows
      )
      name = f'{task}/seeds/{run.seed}/predictions.jsonl'
      texts[name] = predictions.text(rows)
  document = _metadata(method, author, runs, before)
  document['runs'] = dict(sorted(parts.items()))
  text = json.dumps(document, indent=2, ensure_ascii=False) + '\n'
  # What a check would refuse is refused before anything is written.
  metadata.parse(text.encode(), str(path), method, safety.DEFAULT)
  texts['metadata.json'] = text
  texts['run.sh'] = _script(folder / 'run.sh', groups)
  with files.whole_folder(folder) as part:
    for name, content in texts.items():
      files.replace_text(part / name, content)
  return sorted(texts)


def _metadata(method, author, runs, before) -> dict[str, Any]:
  newest = max(runs, key=lambda run: run.record['finished']).record
  weights = str(newest['config'].get('model', {}).get('weights') or '')
  finished = datetime.datetime.fromisoformat(newest['finished'])
  if author is not None:
    said = dataclasses.asdict(author)
    repository = said.pop('repository')
    said |= {k: list(v) for k, v in said.items() if isinstance(v, tuple)}
  elif before:
    said = {k: before[k] for k in _SAID}
    repository = before['code']['repository']
  else:
    raise ValueError(
      'a new contribution needs its authors and a contact '
      '(--authors=NAME,NAME --contact=ADDRESS)'
    )
  return {
    'schema_version': metadata.VERSION,
    'method': method,
    **said,
    'code': {
      'repository': repository,
      'commit': (newest.get('git') or {}).get('commit', ''),
    },
    'base_checkpoint': checkpoint_name(weights),
    'date': finished.date().isoformat(),
    'packages': dict(newest['versions']),
  }


def checkpoint_name(weights: str) -> str:
  """A checkpoint's name without the folders of the machine it lay on."""
  parts = pathlib.PurePath(weights).parts
  generic = ('model', 'weights', 'checkpoint')
  return next((p for p in reversed(parts) if p not in generic), '')


def _gold_hash(task: str, members: Sequence[Run]) -> str:
  """Hash of the labels that the seeds were predicted beside; '' for none."""
  hashes = set()
  for run in members:
    if not all('label' in row for row in run.rows):
      return ''
    hashes.add(registry.gold_hash(map(gold_row, run.rows)))
  if len(hashes) > 1:
    raise ValueError(f'{task}: the seeds predicted different rows')
  return hashes.pop()


def _script(path: pathlib.Path, groups: Mapping[str, Sequence[Run]]) -> str:
  """run.sh: the commands of the runs; those of other runs stay."""
  old = path.read_text().splitlines() if path.is_file() else []
  kept = [line for line in old if line.startswith('python -m ')]
  lines = [_command(task, run) for task, g in groups.items() for run in g]
  return REPRODUCE + '\n'.join(dict.fromkeys([*kept, *lines])) + '\n'


def _command(task: str, run: Run) -> str:
  """The run's own command without the folders of the machine it ran on."""
  command = [str(part) for part in run.record['command'][1:]]
  kept = [part for part in command if not part.startswith(_MACHINE)]
  arguments = shlex.join([*kept, f'--workdir=runs/{task}/seed_{run.seed}'])
  return f'python -m launch.train {arguments}'
