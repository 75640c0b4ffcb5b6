"""Thresholds and a temperature that turn a model's logits into decisions.

Without them a class is the likeliest, a label is there above a half, and
probabilities are those of the logits. `tune` fits both on labelled rows,
`decided` applies them to predictions; the logits' order never changes by a
temperature, so it alone changes no label. The file of a run, `decisions.json`
in its folder `model/`, is written by `launch.probe calibrate`.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping

import numpy as np
from absl import logging

from glue_jax.data.tasks.task import Task
from glue_jax.evaluation.predictions import Predictions, class_names
from glue_jax.metrics import calibration
from glue_jax.metrics import thresholds as search
from glue_jax.reporting import files

FILE = 'decisions.json'
FEWEST = 20  # rows to tune on
KINDS = ('classification', 'multiple_choice', 'multilabel')


@dataclasses.dataclass(frozen=True)
class Decisions:
  """How logits become predictions.

  Attributes:
    temperature: the logits are divided by it.
    thresholds: of the probabilities after that: () = the likeliest class, or
      labels above a half; one of class 1 of two; one a label.
    metric: that the thresholds maximise; '' without any.
    split: whose rows both were tuned on.
    rows: how many.
    step: of the checkpoint.
    ece: {'before', 'after'}: expected calibration error on those rows.
    scores: {'untuned', 'tuned': {metric: value}} on those rows.
    notes: what a person should know.
  """

  temperature: float = 1.0
  thresholds: tuple[float, ...] = ()
  metric: str = ''
  split: str = ''
  rows: int = 0
  step: int = 0
  ece: Mapping[str, float] = dataclasses.field(default_factory=dict)
  scores: Mapping[str, Mapping[str, float]] = dataclasses.field(
    default_factory=dict
  )
  notes: tuple[str, ...] = ()

  def save(self, folder: pathlib.Path) -> None:
    """Writes `decisions.json` into a folder, on process 0."""
    if files.is_first_process():
      text = json.dumps(dataclasses.asdict(self), indent=2)
      files.replace_text(folder / FILE, text + '\n')

  def optimistic(self) -> str:
    """The note on scores of the rows that they were tuned on."""
    return (
      f'{self.split}: decisions were tuned on these rows, so its tuned scores '
      'are higher than those of new rows will be'
    )

  def said(self, task: Task) -> str:
    """One line for a person."""
    parts = []
    if self.temperature != 1:
      parts.append(f'temperature {self.temperature:.4g}')
    if self.thresholds:
      names = class_names(task)
      if task.kind == 'multilabel':
        shown = [f'{n} {t:.4g}' for n, t in zip(names, self.thresholds)]
      else:
        shown = [f'{names[1]} {self.thresholds[0]:.4g}']
      parts.append(f'thresholds for {self.metric}: {", ".join(shown)}')
    what = '; '.join(parts) or 'temperature 1'
    return f'{what} (tuned on {self.rows} rows of {self.split})'


def read(folder: pathlib.Path) -> Decisions | None:
  """Returns those of a folder; None if it has none.

  Raises:
    ValueError: the file is damaged.
  """
  path = folder / FILE
  if not path.is_file():
    return None
  try:
    record = json.loads(path.read_text(encoding='utf-8'))
    known = {f.name for f in dataclasses.fields(Decisions)}
    fields = {k: v for k, v in record.items() if k in known}
    for name in ('thresholds', 'notes'):
      fields[name] = tuple(fields[name])
    float(fields['temperature'])
    return Decisions(**fields)
  except (ValueError, TypeError, KeyError, AttributeError) as error:
    raise ValueError(
      f'{path} is no file of decisions ({error}); delete it, or write it again '
      'with python -m launch.probe calibrate'
    ) from error


def drop(folder: pathlib.Path, step: int | None = None) -> None:
  """Removes those of a folder that another model is written into, and says so.

  Args:
    folder: of a model.
    step: of the model that is written; decisions of that step stay. None =
      none do.
  """
  path = folder / FILE
  if not path.is_file():
    return
  try:
    stays = step is not None and read(folder).step == step
  except ValueError:  # a damaged file belongs to no model
    stays = False
  if not stays:
    path.unlink()
    logging.warning(
      '%s was of another model than the one that is written here now, and is '
      'removed; tune again with python -m launch.probe calibrate',
      path,
    )


def left_out(folder: pathlib.Path) -> str:
  """The note where a model that is made of a folder's has none; '' = nothing.

  Args:
    folder: of a model.
  """
  path = folder / FILE
  if not path.is_file():
    return ''
  return (
    f'{path} is left out: it was tuned for that model alone; the new one '
    'predicts the likeliest class, a label above a half'
  )


def of_step(
  folder: pathlib.Path, step: int | None, task: Task
) -> Decisions | None:
  """Those of a folder if they are of this checkpoint; says which are used.

  Args:
    folder: of a model.
    step: of the model; None = not known, so they are taken.
    task: its task.

  Raises:
    ValueError: the file is damaged.
  """
  found = read(folder)
  if found and step is not None and found.step != step:
    logging.warning(
      '%s is of step %d and not used for step %d; tune it again with python '
      '-m launch.probe calibrate',
      folder / FILE,
      found.step,
      step,
    )
    return None
  if found:
    logging.warning('%s: %s', folder / FILE, found.said(task))
  return found


def tune(
  found: Predictions,
  thresholds: bool | None = None,
  temperature: bool | None = None,
  metric: str | None = None,
) -> Decisions:
  """Fits decisions on predictions with labels.

  Args:
    found: as the model gives them, with logits and labels.
    thresholds, temperature: whether to; None = where the task has them.
    metric: for the thresholds; None = the task's first.

  Returns:
    Decisions without step and scores.

  Raises:
    ValueError: a task without thresholds or probabilities, a metric that isn't
      searched for, or too few rows, or rows of one class only.
  """
  task = found.task
  thresholds = check(task, thresholds)
  logits = np.asarray(found.outputs['logits'], np.float64)
  labels = gold(found)
  where = f'{task.name}/{found.split}'
  if len(labels) < FEWEST:
    raise ValueError(
      f'{where} has {len(labels)} rows; expected {FEWEST} or more to tune on'
    )
  if (labels == labels.flat[0]).all():
    raise ValueError(
      f'all {len(labels)} rows of {where} have the same label; decisions are '
      'tuned on rows of several'
    )
  several = labels.ndim == 2
  by_bins = calibration.set_bins if several else calibration.class_bins
  scale, cuts, notes = 1.0, (), []
  if temperature is not False:
    scale = calibration.temperature(logits, labels)
    bounds = calibration.LOWEST, calibration.HIGHEST
    if np.isclose(scale, bounds, rtol=1e-3).any():
      notes.append(
        f'the temperature {scale:.4g} is at the bound of the search: '
        + (
          'the rows are separated without an error'
          if scale < 1
          else 'the logits say nothing of the labels'
        )
      )
  ece = {
    'before': by_bins(logits, labels).error,
    'after': by_bins(logits / scale, labels).error,
  }
  if ece['after'] > ece['before']:
    notes.append(
      f'the ECE rose, from {ece["before"]:.4f} to {ece["after"]:.4f}: the '
      'temperature has the least loss, which one number can lower without '
      'mending every bin'
    )
  metric = (metric or task.metrics[0]) if thresholds else ''
  if thresholds:
    cuts, more = _thresholds(task, logits / scale, labels, metric)
    notes += more
  return Decisions(
    scale, cuts, metric, found.split, len(labels), ece=ece, notes=tuple(notes)
  )


def decided(decisions: Decisions | None, found: Predictions) -> Predictions:
  """Returns predictions by the decisions; the given ones where there are none.

  Logits, labels and values are new; what was given stays as it is.
  """
  if decisions is None:
    return found
  logits = np.asarray(found.outputs['logits'], np.float64)
  logits = logits / decisions.temperature
  shares = probabilities(found.task, logits)
  values, cuts = found.values, decisions.thresholds
  if cuts and found.task.kind == 'multilabel':
    values = [np.flatnonzero(row >= cuts).tolist() for row in shares]
  elif cuts:
    values = (shares[:, 1] >= cuts[0]).astype(int)
  return dataclasses.replace(
    found,
    values=values,
    probabilities=shares,
    outputs=dict(found.outputs, logits=logits),
  )


def probabilities(task: Task, logits: np.ndarray) -> np.ndarray:
  """(n, C) of classes or choices, or of each label on its own."""
  if task.kind == 'multilabel':
    return np.exp(-np.logaddexp(0, -logits))
  return np.exp(logits - np.logaddexp.reduce(logits, -1, keepdims=True))


def gold(found: Predictions) -> np.ndarray:
  """Labels of predictions: (n,) class ids, or (n, C) 0 or 1.

  Raises:
    ValueError: they have none.
  """
  if found.labels is None:
    raise ValueError(
      f'{found.task.name}/{found.split} has no labels to tune decisions on'
    )
  if found.task.kind != 'multilabel':
    return np.asarray(found.labels)
  sets = np.zeros((len(found), len(found.task.labels)), int)
  for row, ids in zip(sets, found.labels):
    row[ids] = 1
  return sets


def check(task: Task, thresholds: bool | None = None) -> bool:
  """Returns whether thresholds are tuned, as `tune` is asked to.

  Raises:
    ValueError: a task that has no decisions, or no thresholds.
  """
  if task.form not in KINDS:
    raise ValueError(
      f'{task.name} is {task.form}; thresholds and temperature are for tasks '
      f'of {", ".join(KINDS)}'
    )
  two = task.kind == 'classification' and len(task.labels) == 2
  can = task.kind == 'multilabel' or (two and not task.candidates)
  if thresholds and not can:
    raise ValueError(
      f'{task.name} chooses one of {len(class_names(task)) or "several"}; '
      'thresholds are for two classes or multilabel: leave them out '
      '(--nothresholds)'
    )
  return can if thresholds is None else thresholds


def _thresholds(task, logits, labels, metric):
  """(thresholds, notes)."""
  shares = probabilities(task, logits)
  several = task.kind == 'multilabel'
  known = [*search.BY_LABEL, *search.COMMON] if several else [*search.BINARY]
  if metric not in known:
    raise ValueError(
      f'thresholds are not searched for {metric!r}; known for {task.name}: '
      f'{", ".join(known)} (--metric)'
    )
  if not several:
    return (search.binary(shares[:, 1], labels, metric),), []
  if metric in search.COMMON:
    cut = search.common(shares, labels, metric)
    return (cut,) * shares.shape[1], []
  cuts, skipped = search.by_label(shares, labels)
  names = task.label_names(skipped)
  note = f'{names} keep 0.5: the rows have them always or never'
  return tuple(cuts.tolist()), [note] if skipped else []
