"""Makes a registry from labelled data: entries and gold of known tasks.

Who runs a leaderboard makes its registry.json and gold/ once, from
evaluation splits that have labels.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from glue_jax.data import load
from glue_jax.data.tasks import by_name
from glue_jax.data.tasks.task import Task
from glue_jax.leaderboard import registry
from glue_jax.leaderboard.contribution import write
from glue_jax.leaderboard.registry import Entry, Registry
from glue_jax.metrics import scores

_KINDS = ('classification', 'regression', 'span')


def entries(task: Task) -> dict[str, Entry]:
  """Entries of a task, one for each evaluation split: {split: Entry}.

  Raises:
    ValueError: the leaderboard has no metric for this kind of task.
  """
  if task.kind not in _KINDS:
    raise ValueError(
      f'task {task.name} is {task.kind}; the leaderboard scores {_KINDS}'
    )
  kind = 'text' if task.kind == 'span' else task.kind
  names = [m for m in task.metrics if m in registry.KINDS[kind]]
  if kind == 'text':
    names = ['f1', 'exact_match']
  boards = ('glue',) if task.name in scores.GLUE_COLUMNS else ()
  if not task.tfds.startswith('glue/'):
    boards = ()
  rule = (
    '' if kind != 'text' else 'squad_v2' if task.unanswerable else 'squad_v1'
  )
  return {
    split: Entry(
      name=write.entry_name(task.name, split),
      version=write.version(task.name),
      split=split,
      kind=kind,
      metrics=tuple(names),
      primary=names[0],
      labels=task.labels,
      boards=boards,
      rule=rule,
    )
    for split in task.eval_splits
  }


def rows(task: Task, table: Any) -> list[dict[str, Any]]:
  """Gold rows of a labelled table, labels by name."""
  if task.kind == 'span':
    return [
      {'idx': row['id'], 'answers': list(row['answers']['text'])}
      for row in table.rows
    ]
  table.labels()  # refuses hidden ones

  def name(row):
    return task.labels[row['label']] if task.labels else float(row['label'])

  return [
    write.gold_row({'idx': row['idx'], 'label': name(row)})
    for row in table.rows
  ]


def make(
  folder: str | os.PathLike,
  names: Sequence[str],
  data_dir: str | None = None,
) -> Registry:
  """Writes registry.json and gold from the evaluation splits of tasks.

  Args:
    folder: of the leaderboard.
    names: tasks of glue_jax.data.tasks.by_name.
    data_dir: data folder; None reads GLUE_JAX_DATA.

  Raises:
    ValueError, FileNotFoundError: unknown task, no data, hidden labels.
  """
  listed: list[Entry] = []
  gold: dict[str, Sequence[Mapping[str, Any]]] = {}
  for name in names:
    task = by_name.get(name)
    for split, entry in entries(task).items():
      table = load.load(task, split, data_dir)
      listed.append(entry)
      gold[entry.name] = rows(task, table)
  return registry.write(folder, listed, gold)
