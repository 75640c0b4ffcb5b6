"""Which number selects: the best checkpoint, and when there is no better one.

`train.select_metric` names it as 'validation/macro_f1', or as 'macro_f1' for
the mean over the splits that have it; a task file's 'f1_macro' is the same. Its
direction is that of the metric; one that has none known takes
`train.select_direction`.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from glue_jax.data.tasks.task import PAIR_KINDS, Task
from glue_jax.metrics import names


@dataclasses.dataclass(frozen=True)
class Criterion:
  """A number of an evaluation, and which of two is better.

  Attributes:
    metric: its name.
    splits: whose; the mean of those that have it.
    direction: 'max' or 'min'.
    given: by the config; else it is the default.
  """

  metric: str
  splits: tuple[str, ...]
  direction: str
  given: bool = False

  @property
  def name(self) -> str:
    return f'{"+".join(self.splits)}/{self.metric}'

  def value(self, metrics: Mapping[str, Mapping[str, float]]) -> float | None:
    """Returns its value in {split: {metric: value}}, None if it isn't there."""
    found = [
      metrics[split][self.metric]
      for split in self.splits
      if self.metric in metrics.get(split, {})
    ]
    return float(np.mean(found)) if found else None

  def better(self, value: float, best: float | None) -> bool:
    """Says whether a value is better than the best; NaN never is."""
    if math.isnan(value) or best is None:
      return not math.isnan(value)
    return value > best if self.direction == 'max' else value < best


def measured(task: Task) -> tuple[str, ...]:
  """Names of the metrics of each labelled split of a task, primary first.

  Those of answers also where a split has no such question.
  """
  more: tuple[str, ...] = ('loss',)
  if task.form == 'generation':
    more = ('readable',) if task.prompt and task.labels else ()
    return tuple(dict.fromkeys((*task.metrics, *more)))
  if task.kind == 'language_modeling':
    more = ('perplexity', 'loss', 'accuracy')
  elif task.kind in PAIR_KINDS:
    more = ('perplexity', 'loss', 'accuracy', 'structure_accuracy')
  elif task.kind == 'span':
    more = names.of_kind('span', task.unanswerable)
  elif task.candidates:
    more = ()
  return tuple(dict.fromkeys((*task.metrics, *more)))


def of_best(
  task: Task,
  splits: Sequence[str],
  select_metric: str | None = None,
  select_direction: str | None = None,
) -> Criterion:
  """What the best checkpoint is chosen by: the task's primary, if not given.

  Args:
    task: its record.
    splits: labelled ones that are evaluated.
    select_metric, select_direction: of the config's section `train`.

  Raises:
    ValueError: a metric or split that isn't evaluated, or a metric without a
      direction; lists what there is.
  """
  if select_metric is None:
    if select_direction is not None:
      raise ValueError(
        f'config.train.select_direction={select_direction!r} is of '
        'train.select_metric, which is not given; give both or none'
      )
    first = task.metrics[0] if task.metrics else ''
    return Criterion(first, tuple(splits), task.direction)
  split, _, metric = select_metric.rpartition('/')
  metric = names.own_name(metric)
  known = measured(task)
  if metric not in known or (split and split not in splits) or not splits:
    there = [f'{s}/{name}' for s in splits for name in known]
    raise ValueError(
      f'config.train.select_metric={select_metric!r} is not evaluated; '
      f'expected one of {", ".join(there) or "nothing: no split is evaluated"}'
    )
  direction = select_direction or names.direction(metric)
  if direction is None:
    raise ValueError(
      f'config.train.select_metric={select_metric!r}: it is not known whether '
      "more or less of it is better; give train.select_direction='max' or 'min'"
    )
  return Criterion(
    metric, (split,) if split else tuple(splits), direction, True
  )


def of_patience(
  task: Task, splits: Sequence[str], patience: int, best: Criterion
) -> Criterion:
  """What patience waits for: the loss of the first split, if not given.

  Args:
    task, splits: as of `of_best`.
    patience: evaluations, for the message.
    best: what the best checkpoint is chosen by.

  Raises:
    ValueError: there is no such loss.
  """
  if best.given:
    return best
  first, known = (splits[0] if splits else ''), measured(task)
  if not splits or 'loss' not in known:
    raise ValueError(
      f'config.train.patience={patience} needs the loss of the first '
      f'evaluation split; {first or "no split"} has '
      f'{sorted(known) if splits else []}; give train.select_metric'
    )
  return Criterion('loss', (first,), 'min')
