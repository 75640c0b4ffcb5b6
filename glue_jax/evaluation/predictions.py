"""The decoded predictions of a split, as they are scored and written."""

import dataclasses
import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from glue_jax.data.tasks.task import Task
from glue_jax.reporting import files


@dataclasses.dataclass
class Predictions:
  """Decoded predictions of one split, in the order of its rows.

  Attributes:
    task: the task's record.
    split: its name.
    idx: each row's id in the source.
    values: class ids (n,) int (-1 = what was written names none), numbers
      (n,) float, or a list of n texts or of n lists of tag ids (-1 = the word
      lies beyond the maximal length).
    probabilities: (n, C) for classes and choices, else None.
    labels: gold values as `values`; None for texts and where labels are hidden.
    extra: further fields of the written records, n values each.
    outputs: what the model gave, (n, ...) arrays or lists of n arrays.
    notes: what a person should know of the rows.
  """

  task: Task
  split: str
  idx: list
  values: np.ndarray | list
  probabilities: np.ndarray | None = None
  labels: np.ndarray | list | None = None
  extra: dict[str, list] = dataclasses.field(default_factory=dict)
  outputs: dict[str, Any] = dataclasses.field(default_factory=dict)
  notes: tuple[str, ...] = ()

  def __len__(self) -> int:
    return len(self.idx)

  def records(self) -> Iterator[dict]:
    """One JSON-able record a row, with label names instead of ids."""
    names = class_names(self.task)
    for i, idx in enumerate(self.idx):
      record = {'idx': idx, 'prediction': named(self.values[i], names)}
      if self.labels is not None:
        record['label'] = named(self.labels[i], names)
      if self.probabilities is not None:
        row = self.probabilities[i].tolist()
        record['probabilities'] = dict(zip(names, row))
      yield record | {key: column[i] for key, column in self.extra.items()}

  def save(self, path: str | os.PathLike) -> None:
    """Writes the records as JSON lines, on process 0."""
    if files.is_first_process():
      lines = (json.dumps(record) + '\n' for record in self.records())
      files.replace_text(path, ''.join(lines))


def class_names(task: Task) -> tuple[str, ...]:
  """Names of the classes or choices in id order."""
  return task.labels or task.choices


def named(value: Any, names: tuple[str, ...]) -> Any:
  """Returns a label id, number, text or list of tags as it is written."""
  if isinstance(value, str):
    return value
  if isinstance(value, (list, np.ndarray)):
    return [names[tag] if tag >= 0 else None for tag in value]
  if names:
    return names[int(value)] if value >= 0 else None
  return float(value)
