"""Pseudo-labels: rows of an evaluation split, labelled by finished runs.

Transductive fine-tuning as Vega v1 names it (Zhong et al. 2023, arXiv
2302.09268). Its content is not confirmed; ours is the usual meaning: the mean
probabilities of several tuned models, kept where the largest is sure enough
(published are neither number nor threshold; ours are 3 and 0.9), learned from
once with half the weight of a labelled row, from the start checkpoint.

The inputs that a result is reported on are seen in training, so every result
that comes of it says so (`transductive` in result.json and what is made of it).
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np

from glue_jax.config.ranges import Names, Range, Share, check_arguments
from glue_jax.data.table import Table

KINDS = ('classification', 'multiple_choice')


@dataclasses.dataclass(frozen=True)
class Pseudo:
  """What `data.pseudo` says.

  Attributes:
    models: model folders of finished runs that left predictions of the split;
      'stage:NAME/*' in a config stands for those of all its seeds.
    split: whose rows are labelled.
    threshold: least probability of a label that is taken.
    weight: of such a row in the loss, beside 1 of a labelled one.
  """

  models: Names
  split: str = 'test'
  threshold: Share = 0.9
  weight: Annotated[float, Range(gt=0, le=1)] = 0.5


def bind(given: Mapping[str, Any]) -> Pseudo:
  """Returns the settings, checked.

  Raises:
    ValueError: an unknown, missing or wrong one.
  """
  known = {field.name for field in dataclasses.fields(Pseudo)}
  if given.keys() - known or 'models' not in given:
    raise ValueError(
      f'config.data.pseudo has {sorted(given)}; expected models, and perhaps '
      f'others of {sorted(known)}'
    )
  check_arguments(Pseudo, given, 'config.data.pseudo')
  twice = len(given['models']) - len(set(given['models']))
  if twice:
    raise ValueError(
      f'config.data.pseudo.models names {twice} of its runs twice; each has '
      'one say: name it once'
    )
  return Pseudo(**given)


def added(
  train: Table, given: Table, settings: Pseudo
) -> tuple[Table, np.ndarray]:
  """Returns the training rows with those that were labelled, and weights.

  Args:
    train: labelled rows.
    given: rows of `settings.split`; labels that it has are not looked at.
    settings: see `Pseudo`.

  Returns:
    (table, whose notes say how many; (n,) float32 weights of its rows).

  Raises:
    ValueError: a kind of task without classes, a run without such predictions
      or with those of other rows, or no row that is sure enough.
  """
  task = train.task
  if task.kind not in KINDS:
    raise ValueError(
      f'config.data.pseudo needs a task of {KINDS}, {task.name} is {task.kind}'
    )
  names = task.labels or task.choices
  every = [_probabilities(model, given, names) for model in settings.models]
  mean = np.mean(every, axis=0)
  sure = np.flatnonzero(mean.max(-1) >= settings.threshold)
  if not len(sure):
    raise ValueError(
      f'config.data.pseudo: none of {len(given)} rows of {settings.split!r} '
      f'has a label of probability {settings.threshold} or more (the largest '
      f'is {mean.max():.3f}); lower the threshold, or train the models longer'
    )
  rows = [
    {
      **given.rows[i],
      'label': int(mean[i].argmax()),
      'idx': f'{settings.split}-{given.rows[i]["idx"]}',
    }
    for i in sure
  ]
  note = (
    f'transductive: {len(sure)} of {len(given)} rows of {settings.split!r} are '
    f'learned with the labels of {len(every)} models'
  )
  table = dataclasses.replace(
    train, rows=[*train.rows, *rows], lines=(), notes=(*train.notes, note)
  )
  weights = np.ones(len(table), np.float32)
  weights[len(train) :] = settings.weight
  return table, weights


def _probabilities(model: str, given: Table, names: tuple) -> np.ndarray:
  """What a finished run said of the rows: (n, C).

  Raises:
    ValueError: it left no such predictions, or those of other rows.
  """
  run = pathlib.Path(model)
  run = run.parent if run.name == 'model' else run
  path = run / 'predictions' / f'{given.split}.jsonl'
  if not path.is_file():
    raise ValueError(
      f'config.data.pseudo: {path} is missing; the run that labels must '
      f'predict the split: give it data.eval_splits=(..., {given.split!r})'
    )
  records = [json.loads(line) for line in path.read_text().splitlines()]
  same = [r['idx'] for r in records] == [row['idx'] for row in given.rows]
  if not same or _inputs(run, given) != given.inputs:
    raise ValueError(
      f'config.data.pseudo: {path} has {len(records)} predictions, of other '
      f'rows than the {len(given)} of split {given.split!r}; give both runs '
      'the same data and data.eval_limit'
    )
  told = list(records[0].get('probabilities', ())) if records else list(names)
  if told != list(names):
    raise ValueError(
      f'config.data.pseudo: {path} has probabilities of {told}, this task has '
      f'{list(names)}; a run that labels tells the same classes apart, by a '
      'head'
    )
  return np.array([[r['probabilities'][n] for n in names] for r in records])


def _inputs(run: pathlib.Path, given: Table) -> str:
  """Hash of what a run predicted; of one that kept none, that of the rows."""
  path = run / 'result.json'
  kept = json.loads(path.read_text()) if path.is_file() else {}
  return kept.get('inputs_sha256', {}).get(given.split, given.inputs)
