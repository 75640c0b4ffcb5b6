"""Orders that a run gives its epochs, and the steps that they take."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Orders(NamedTuple):
  """The epochs that have an order of their own; replaced as a whole.

  Attributes:
    full: steps of an epoch that has none.
    version: rises with every change.
    rows: {epoch: (N,) examples}, of epochs that aren't over.
    steps: {epoch: its number of steps}, of all that had another than `full`.
  """

  full: int
  version: int = 0
  rows: Mapping[int, np.ndarray] = {}
  steps: Mapping[int, int] = {}

  def first_step(self, epoch: int) -> int:
    """Returns the step that an epoch begins with."""
    before = (n - self.full for e, n in self.steps.items() if e < epoch)
    return epoch * self.full + sum(before)

  def epoch_of(self, step: int) -> tuple[int, int, int]:
    """Returns the epoch of a step, its first step and number of steps."""
    epoch = first = 0  # all of the epochs before are over
    for own in sorted(self.steps):
      start, steps = self.first_step(own), self.steps[own]
      if step < start:
        break
      if step < start + steps:
        return own, start, steps
      epoch, first = own + 1, start + steps
    passed = (step - first) // self.full
    return epoch + passed, first + passed * self.full, self.full

  def given(
    self, epoch: int, rows: np.ndarray, steps: int, current: int
  ) -> 'Orders':
    """Returns them with one epoch's order, without those before `current`."""
    kept = {e: own for e, own in self.rows.items() if e >= current}
    lengths = {e: n for e, n in self.steps.items() if e != epoch}
    if steps != self.full:
      lengths[epoch] = steps
    return self._replace(
      version=self.version + 1, rows=kept | {epoch: rows}, steps=lengths
    )
