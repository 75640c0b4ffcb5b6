"""An invented leaderboard: tasks with gold and methods of known accuracy."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from glue_jax.leaderboard import registry
from glue_jax.leaderboard.contribution import predictions
from glue_jax.leaderboard.registry import Entry

VERSION = 'invented 1'
LABELS = ('no', 'yes', 'maybe')
KINDS = (
  dict(kind='classification', labels=LABELS[:2], metrics=('accuracy',)),
  dict(kind='classification', labels=LABELS[:2], metrics=('f1', 'accuracy')),
  dict(kind='classification', labels=LABELS, metrics=('matthews', 'accuracy')),
  dict(kind='regression', metrics=('pearson', 'spearman')),
)


def make(
  folder: pathlib.Path,
  methods: int = 3,
  tasks: int = 4,
  seeds: int = 3,
  rows: int = 60,
) -> None:
  """Writes registry, gold and contributions.

  Method m has `wrong(rows, m, methods, seed)` wrong answers on every task
  with classes, at places drawn with a fixed seed; numbers get noise that grows
  with m.

  Args:
    folder: of the leaderboard.
    methods: how many, method-0 the best.
    tasks: how many, in turn of KINDS.
    seeds: runs of each; 1 writes single predictions.
    rows: examples of a task.
  """
  rng = np.random.default_rng(0)
  entries, gold = [], {}
  for t in range(tasks):
    fields = KINDS[t % len(KINDS)]
    entry = Entry(
      name=f'task-{t}',
      version=VERSION,
      split='validation',
      primary=fields['metrics'][0],
      **fields,
    )
    if entry.labels:
      values = [str(v) for v in rng.choice(entry.labels, rows)]
    else:
      values = np.round(rng.uniform(0, 5, rows), 2).tolist()
    entries.append(entry)
    gold[entry.name] = [{'idx': i, 'label': v} for i, v in enumerate(values)]
  registry.write(folder, entries, gold)
  for m in range(methods):
    home = folder / 'contributions' / f'method-{m}'
    for entry in entries:
      labels = [row['label'] for row in gold[entry.name]]
      for seed in range(seeds):
        answers = _answers(entry, labels, m, methods, seed, rng)
        inner = f'{entry.name}/seeds/{seed}' if seeds > 1 else entry.name
        path = home / inner / 'predictions.jsonl'
        path.parent.mkdir(parents=True)
        path.write_text(predictions.text(enumerate(answers)))
    names = [entry.name for entry in entries]
    text = json.dumps(metadata(home.name, names, range(seeds), m), indent=1)
    (home / 'metadata.json').write_text(text + '\n')
    (home / 'run.sh').write_text('#!/bin/sh\nexit 0\n')


def wrong(rows: int, method: int, methods: int, seed: int) -> int:
  """Wrong answers of a method's seed among `rows`: half, for the last one."""
  return min(rows, rows * (method + 1) // (2 * methods) + seed)


def _answers(entry, labels, method, methods, seed, rng) -> list[Any]:
  if not entry.labels:
    noise = rng.normal(0, (method + 1) / methods, len(labels))
    return np.round(np.asarray(labels) + noise, 3).tolist()
  answers = list(labels)
  count = wrong(len(labels), method, methods, seed)
  places = rng.permutation(len(labels))[:count]
  for i in places:
    others = [name for name in entry.labels if name != labels[i]]
    answers[i] = others[rng.integers(len(others))]
  return answers


def metadata(
  method: str, tasks: Sequence[str], seeds: Sequence[int], size: int = 0
) -> dict[str, Any]:
  """Valid metadata of an invented method.

  Args:
    method: its name.
    tasks: tasks that it has predictions of.
    seeds: of each.
    size: the costs grow with it.
  """
  run = {
    'params_total': 10_000_000,
    'params_trainable': 10_000_000 // (size + 1) ** 2,
    'params_stored_per_task': 10_000_000 // (size + 1) ** 2,
    'train': {
      'hardware': 'invented',
      'device_count': 1,
      'seconds': 100.0 + size,
      'peak_memory_bytes': 10**9,
    },
    'seeds': list(seeds),
    'config_hash': '0123456789abcdef',
    'git_dirty': False,
    'dataset': {'version': VERSION},
  }
  return {
    'schema_version': 1,
    'method': method,
    'variant': '',
    'description': 'Invented.',
    'authors': ['A. Nobody'],
    'contact': 'nobody@example.org',
    'paper': '',
    'code': {'repository': 'https://example.org/code', 'commit': 'abcdef0'},
    'base_checkpoint': '',
    'licence': 'CC0-1.0',
    'date': '2026-01-31',
    'search_trials': 0,
    'extra_data': ['none'],
    'packages': {'numpy': '2.0'},
    'runs': dict.fromkeys(tasks, run),
  }
