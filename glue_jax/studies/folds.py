"""k-fold cross-validation: a run a fold, one table, predictions of every row.

Each fold is a plain run whose task has one more cut: its split `fold` is one of
k (data/folds.py) and is predicted by a model of the other rows of the training
split. Other splits are not looked at.
"""

import collections
import json
import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from glue_jax.config import config as config_lib
from glue_jax.data.tasks import by_name
from glue_jax.data.tasks.task import CORPUS_KINDS, Task
from glue_jax.evaluation import answers
from glue_jax.evaluation.predictions import class_names
from glue_jax.metrics import scores, sequence
from glue_jax.reporting import files, tables
from glue_jax.studies import retrains
from glue_jax.training import runs, schema

SPLIT = 'fold'
PREDICTIONS, RECORD, TABLE = 'predictions.jsonl', 'folds.json', 'folds.csv'


def plan(
  config: Any, folds: int, group: str | None = None, seed: int = 0
) -> list[Any]:
  """Returns the config of each fold's run.

  Args:
    config: of one seed, without stages.
    folds: k, 2 or more.
    group: column whose rows stay together.
    seed: of the deal; the runs keep their own.

  Raises:
    ValueError: stages or several seeds, fewer than 2 folds, or a task whose
      predictions have no labels of their own.
  """
  if folds < 2:
    raise ValueError(f'folds={folds}: expected 2 or more')
  config = config_lib.complete(config)
  if config.stages or len(config.seeds) != 1:
    raise ValueError(
      f'config.seeds={list(config.seeds)}, {len(config.stages)} stages: folds '
      'are of a config with one seed and no stages'
    )
  task = by_name.make(**schema.bind(config).task)
  if task.kind in (*CORPUS_KINDS, 'span') or task.candidates:
    raise ValueError(
      f'{task.name} ({task.kind}): folds are for tasks whose rows have a label '
      'each'
    )
  held = {
    name: {'from': cut.source, 'fraction': cut.fraction, 'seed': cut.seed}
    for name, cut in task.cuts.items()
    if name in task.test_splits and not cut.folds
  }
  given: dict[str, Any] = {'eval_splits': [SPLIT]}
  if group:
    given['group'] = group
  cut = {'from': task.train_split, 'folds': folds, 'seed': seed}
  return [
    config_lib.complete(
      config_lib.override(
        # Cuts are replaced, not joined: validation gives its rows back.
        config_lib.override(config, {'task': {'cuts': None}}),
        {
          'task': given | {'cuts': held | {SPLIT: cut | {'fold': fold}}},
          'data': {'eval_splits': None, 'eval_limit': None},
        },
      )
    )
    for fold in range(folds)
  ]


def run(
  config: Any,
  workdir: str | os.PathLike,
  folds: int,
  group: str | None = None,
  seed: int = 0,
) -> str:
  """Runs what isn't finished and writes what came of all folds.

  `fold_<i>/` are the runs; `folds.csv` is the table, `predictions.jsonl` has
  the record of every row, each predicted by a model that has not seen it, with
  its `fold`; `folds.json` has mean, sample sd and the score over all rows.

  Args:
    config, folds, group, seed: see `plan`.
    workdir: folder of the runs.

  Returns:
    The table, and notes.

  Raises:
    ValueError: see `plan`; or a workdir of other folds.
  """
  configs, workdir = plan(config, folds, group, seed), pathlib.Path(workdir)
  results = [
    runs.run(one, workdir / f'fold_{fold}') for fold, one in enumerate(configs)
  ]
  task = by_name.make(**schema.bind(configs[0]).task)
  records = list(pool(workdir, folds))
  found = [result['metrics'][SPLIT] for result in results]
  names = [name for name in task.metrics if name in found[0]]
  pooled = score(task, records)
  rows = [
    {
      'fold': str(fold),
      'trained on': result['rows'][task.train_split]['used'],
      'rows': result['rows'][SPLIT]['used'],
      **{name: metrics[name] for name in names},
    }
    for fold, (result, metrics) in enumerate(zip(results, found))
  ]
  spread = tables.aggregate([{n: m[n] for n in names} for m in found])
  for label in ('mean', 'sd'):
    rows.append({'fold': label} | {n: spread[n][label] for n in names})
  rows.append({'fold': 'all rows', 'rows': len(records)} | pooled)
  notes = list(
    dict.fromkeys(
      re.sub(f'^{SPLIT}:', f'{SPLIT} {fold}:', note)  # else of all rows
      for fold, result in enumerate(results)
      for note in result['notes']
    )
  )
  notes += _rare(task, records, folds)
  train = configs[0].train
  if train.get('select') == 'best' or train.get('patience'):
    notes.append(
      'checkpoints were chosen on the rows held out (train.select, '
      'train.patience), so these scores are higher than those of new rows'
    )
  if files.is_first_process():
    record = {'folds': rows[:folds], **spread_of(spread), 'all_rows': pooled}
    record['notes'] = notes
    lines = [json.dumps(r, ensure_ascii=False) + '\n' for r in records]
    files.replace_text(workdir / PREDICTIONS, ''.join(lines))
    columns = list(dict.fromkeys(key for row in rows for key in row))
    even = [{key: row.get(key, '') for key in columns} for row in rows]
    tables.write_csv(even, workdir / TABLE)
    text = json.dumps(record, indent=2) + '\n'
    files.replace_text(workdir / RECORD, text)
  line = ', '.join(
    f'{n} {spread[n]["mean"]:.4f} ± {spread[n]["sd"]:.4f}' for n in names
  )
  head = f'{task.name}, {folds} folds (mean ± sample sd): {line}'
  return '\n'.join([tables.results_table(rows), head, *notes])


def spread_of(spread: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
  """{'mean': {metric: value}, 'sd': ...} out of `tables.aggregate`."""
  return {
    label: {name: value[label] for name, value in spread.items()}
    for label in ('mean', 'sd')
  }


def pool(workdir: pathlib.Path, folds: int) -> Iterator[dict[str, Any]]:
  """Records of all folds' held-out rows, fold by fold.

  Raises:
    ValueError: a row is in two folds.
  """
  seen: dict[Any, int] = {}
  for fold in range(folds):
    for record in retrains.read_predictions(workdir / f'fold_{fold}', SPLIT):
      if record['idx'] in seen:
        raise ValueError(
          f'{workdir}: row {record["idx"]!r} is in the folds '
          f'{seen[record["idx"]]} and {fold}; give another workdir'
        )
      seen[record['idx']] = fold
      yield record | {'fold': fold}


def score(task: Task, records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
  """The task's metrics over records with 'prediction' and 'label'."""
  ours, gold = ([r[key] for r in records] for key in ('prediction', 'label'))
  if task.kind == 'token_classification':
    metrics = sequence.sequence_scores(ours, gold, task.seq_mode)
    return answers.chosen(task, metrics)
  if task.kind == 'multilabel':
    return answers.chosen(
      task, scores.multilabel(_matrix(task, ours), _matrix(task, gold))
    )
  if task.kind != 'regression':
    ids = {name: i for i, name in enumerate(class_names(task))}
    ours, gold = ([ids[name] for name in names] for names in (ours, gold))
  groups = None
  if task.grouped:
    groups = [str(r['idx']).rpartition('-')[0] for r in records]
  return scores.compute(task.metrics, np.array(ours), np.array(gold), groups)


def _rare(
  task: Task, records: Sequence[Mapping[str, Any]], folds: int
) -> list[str]:
  """A note on labels that can't be in every fold."""
  if task.kind != 'classification':
    return []
  counts = collections.Counter(record['label'] for record in records)
  rare = [f'{n} ({c} rows)' for n, c in counts.items() if c < folds]
  return [f'some folds lack {", ".join(rare)}'] if rare else []


def _matrix(task: Task, sets: Sequence[Sequence[str]]) -> np.ndarray:
  return np.array([[name in row for name in task.labels] for row in sets])
