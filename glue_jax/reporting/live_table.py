"""The table that grows while a run goes on: a header, then rows.

         step  split         loss  accuracy  grad_norm  steps/s    left
    100/1,000  train       0.6512    0.6094      0.381     4.20   3m34s
    100/1,000  validation  0.6402    0.6260          -        -       -

A row is of the steps since the last one (train), or of an evaluation. The loss
is the mean, in nats where it is a cross-entropy; `left` is the time to the last
step at the rate so far, without evaluations to come. Metrics that don't fit the
width are counted at the end of the header; metrics.jsonl has all.
"""

import math
from collections.abc import Mapping

STEP, SPLIT, RATE, LEFT = 'step', 'split', 'steps/s', 'left'
_LAST = ('grad_norm',)  # behind what is scored
_NUMBER = 8  # columns of a number, at least


class LiveTable:
  """Lines of a table whose metrics become known while it grows.

  Args:
    total: steps of the run.
    width: columns that there are room for.
  """

  def __init__(self, total: int, width: int = 80):
    self.total, self._width = total, width
    self._metrics: list[str] = []
    self._shown: list[str] | None = None
    self._split = len('validation')

  def rows(
    self,
    step: int,
    splits: Mapping[str, Mapping[str, float]],
    rate: str = '-',
    left: str = '-',
  ) -> list[str]:
    """Returns a line a split, under a header where its columns are new.

    Args:
      step: finished steps.
      splits: {split: {metric: value}}.
      rate, left: of the steps, as text.
    """
    new = [m for values in splits.values() for m in values]
    self._metrics = list(dict.fromkeys([*self._metrics, *new]))
    self._split = max([self._split, *map(len, splits)])
    shown = self._fitting()
    lines = []
    if shown != self._shown:
      self._shown = shown
      more = len(self._metrics) - len(shown)
      names = {name: name for name in shown}
      header = self._line(STEP, SPLIT, names, RATE, LEFT)
      lines.append(f'{header}  (+{more} more)' if more else header)
    done = f'{step:,}/{self.total:,}'
    for split, values in splits.items():
      numbers = {name: number(values.get(name)) for name in shown}
      lines.append(self._line(done, split, numbers, rate, left))
    return lines

  def _fitting(self) -> list[str]:
    """The metrics that there is room for: the loss, scores, the gradient."""

    def place(name: str) -> int:
      return 0 if name == 'loss' else 2 if name in _LAST else 1

    ordered = sorted(self._metrics, key=place)
    fixed = len(self._line(STEP, SPLIT, {}, RATE, LEFT))
    room = self._width - fixed
    if sum(map(_columns, ordered)) > room:
      room -= len('  (+99 more)')
    shown: list[str] = []
    for name in ordered:
      room -= _columns(name)
      if room < 0 and shown:
        break
      shown.append(name)
    return shown

  def _line(
    self,
    step: str,
    split: str,
    numbers: Mapping[str, str],
    rate: str,
    left: str,
  ) -> str:
    """A line; `numbers` are the cells by metric."""
    most = 2 * len(f'{self.total:,}') + 1
    cells = ''.join(f'{c:>{_columns(name)}}' for name, c in numbers.items())
    return (
      f'{step:>{most}}  {split:<{self._split}}{cells}  {rate:>7}  {left:>6}'
    )


def _columns(name: str) -> int:
  return 2 + max(len(name), _NUMBER)


def number(value: float | None) -> str:
  """A value in at most 8 columns: 0.6512, 1.2e-05; '-' for none."""
  if value is None:
    return '-'
  if not math.isfinite(value):
    return str(value)
  if value == 0 or 1e-3 <= abs(value) < 1e3:
    return f'{value:.4f}'
  return f'{value:.2e}'


def beginning(
  task: str,
  rows: int,
  steps: int,
  batch: int,
  trained: int,
  parameters: int,
  devices: str,
) -> str:
  """What a run is, in one line.

  Args:
    task: its name.
    rows: that it trains on.
    steps: of the whole run.
    batch: rows a step.
    trained, parameters: numbers that learn, and all.
    devices: how many of what.
  """
  return (
    f'{task}: {rows:,} rows, {steps:,} steps of {batch:,}; trains {trained:,} '
    f'of {parameters:,} parameters; {devices}'
  )
