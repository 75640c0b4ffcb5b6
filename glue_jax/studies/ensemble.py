"""An ensemble of finished runs: the mean of what they predict.

Probabilities are averaged, of a regression the scores. The temperature of the
mean is chosen on development rows, by their likelihood, and never on the split
that is reported; Vega v1 (Zhong et al. 2023, arXiv 2302.09268) ends so, by our
reading: how it did is not confirmed.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from glue_jax.evaluation import decisions, evaluate
from glue_jax.evaluation.predictions import Predictions
from glue_jax.inference import open_run
from glue_jax.reporting import files, tables
from glue_jax.training import transductive
from glue_jax.weights import run_folder

KINDS = ('classification', 'multiple_choice', 'regression')


def run(
  workdirs: Sequence[str | os.PathLike],
  split: str,
  out: str | os.PathLike,
  tune: str = '',
  data_dir: str | None = None,
) -> str:
  """Joins runs, scores and writes their ensemble.

  `<out>/predictions/<split>.jsonl`, and `<out>/result.json`: the members, the
  temperature and what it was chosen on, and, where the split has labels, the
  scores of every member and of the ensemble.

  Args:
    workdirs: folders of runs of one task; one that holds several seeds stands
      for all of them.
    split: what is predicted and reported.
    out: folder to write.
    tune: development split with labels that the temperature is chosen on; '' =
      none, the mean as it is.
    data_dir: data folder, if not that of the runs.

  Returns:
    The table, and notes.

  Raises:
    ValueError: fewer than two members, members of several tasks, of other
      rows or of a kind without a mean, or a temperature on the reported split.
  """
  if tune == split:
    raise ValueError(
      f'the temperature would be chosen on {split!r}, which is reported; name '
      'a split of other rows to tune on, or none'
    )
  folders = [
    str(one.path) for folder in workdirs for one in run_folder.list_runs(folder)
  ]
  if len(set(folders)) < 2:
    raise ValueError(f'an ensemble has 2 members or more; found {folders}')
  wanted = [name for name in (split, tune) if name]
  members = [_predicted(folder, wanted, data_dir) for folder in folders]
  joint = {
    name: mean([member[name][0] for member in members]) for name in wanted
  }
  _check_rows(folders, members, wanted)
  scale = decisions.Decisions()
  if tune:
    decisions.check(joint[tune].task)
    scale = decisions.tune(joint[tune], thresholds=False)
  found = joint[split]
  if found.task.kind != 'regression':
    found = decisions.decided(scale, found)
  table = members[0][split][1]
  result: dict[str, Any] = {
    'task': found.task.name,
    'split': split,
    'members': folders,
    'temperature': scale.temperature,
    'tuned_on': tune,
    'notes': list(scale.notes),
  }
  if any(transductive.marked(folder) for folder in folders):
    result[transductive.MARK] = True
    result['notes'].append(
      'transductive: a member was trained on inputs of an evaluation split'
    )
  rows = []
  if table.labelled:
    scores = [evaluate.score(member[split][0], table) for member in members]
    result['member_metrics'] = scores
    result['metrics'] = {split: evaluate.score(found, table)}
    rows = [
      {'of': name, **{k: values[k] for k in (*found.task.metrics, 'loss')}}
      for name, values in (
        *zip(folders, scores), ('ensemble', result['metrics'][split])
      )
    ]  # fmt: skip
  out = pathlib.Path(out)
  found.save(out / 'predictions' / f'{split}.jsonl')
  files.replace_text(out / 'result.json', json.dumps(result, indent=2) + '\n')
  said = f'{len(folders)} members, temperature {scale.temperature:.4g}'
  said += f' (chosen on {tune})' if tune else ''
  return '\n'.join([tables.results_table(rows), said, *result['notes']])


def mean(found: Sequence[Predictions]) -> Predictions:
  """Returns the mean of predictions of one split, in whatever order they come.

  Args:
    found: of the members, with probabilities or numbers.

  Raises:
    ValueError: they are of several tasks, of other rows, or of a kind of task
      that has no mean.
  """
  first = found[0]
  if first.task.form not in KINDS:
    raise ValueError(
      f'an ensemble is of tasks of {KINDS}; {first.task.name} is '
      f'{first.task.form}'
    )
  for other in found:
    if (other.task, other.idx) != (first.task, first.idx):
      raise ValueError(
        f'members predict {first.task.name} and {other.task.name} of '
        f'{len(first)} and {len(other)} rows; expected one task and one split'
      )
  if first.task.kind == 'regression':
    # Sorted, so that the sum is the same in any order.
    values = np.sort([other.values for other in found], axis=0).mean(0)
    return dataclasses.replace(first, values=values, outputs={})
  shares = np.sort([other.probabilities for other in found], axis=0).mean(0)
  logits = np.log(np.maximum(shares, np.finfo(np.float64).tiny))
  return dataclasses.replace(
    first,
    values=shares.argmax(-1),
    probabilities=shares,
    outputs={'logits': logits},
  )


def _check_rows(folders, members, splits) -> None:
  """Refuses members that read other texts under the same ids.

  Raises:
    ValueError: there are some.
  """
  for split in splits:
    read = [member[split][1] for member in members]
    for folder, table in zip(folders, read, strict=True):
      if table.inputs != read[0].inputs:
        raise ValueError(
          f'{folder} reads other rows of {split!r} ({table.path}) than '
          f'{folders[0]} ({read[0].path}); --data_dir names one folder for all'
        )


def _predicted(folder, splits, data_dir) -> dict[str, tuple[Predictions, Any]]:
  """{split: (what a run predicts, its table)}; not by its decisions."""
  opened = open_run.open_run(folder, splits=splits, data_dir=data_dir)
  bundle = opened.bundle
  return {
    name: (
      evaluate.predict(
        opened.predict_fn, bundle.evals[name], opened.task, bundle.tables[name]
      ),
      bundle.tables[name],
    )
    for name in splits
  }
