"""The rows of one split, as `load` read and checked them.

Features are made from a table, and messages about a row name its line by it.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Sequence

import numpy as np

from glue_jax.data.readers import files
from glue_jax.data.tasks.task import Task


@dataclasses.dataclass
class Table:
  """One split of a task.

  Attributes:
    task: the task's record.
    split: name of the split.
    rows: one dict a row: the task's columns, 'label' and 'idx' (span tasks:
      also id, title, answers, is_impossible).
    path: the file or folder read.
    format: as readers/formats.py names it, 'tfds' or 'generated'.
    labelled: every row has a label.
    notes: warnings, each naming what was found and expected.
    lines: the line of each row in its file; empty where there are none.
    parts: the files, where they are several; lines count through them.
    left_out: rows of the split that aren't here: bad ones, and those beyond a
      limit.
  """

  task: Task
  split: str
  rows: list[dict]
  path: str
  format: str
  labelled: bool
  notes: tuple[str, ...] = ()
  lines: tuple[int, ...] = ()
  left_out: int = 0
  parts: tuple[files.Part, ...] = ()

  def __len__(self) -> int:
    return len(self.rows)

  def place(self, row: int) -> str:
    """Where a row stands, for messages: 'file:line'."""
    if not self.lines:
      return f'row {row}'
    return files.place(self.path, self.parts, self.lines[row])

  def by_source(self) -> 'Table':
    """The first row of each text, with the labels of all as `references`."""
    first: dict[tuple, int] = {}
    references: dict[int, list[str]] = {}
    for i, row in enumerate(self.rows):
      source = tuple(row[column] for column in self.task.columns)
      own = first.setdefault(source, i)
      references.setdefault(own, []).append(row['label'])
    table = self.take(list(references))
    table.rows = [
      {**row, 'references': texts}
      for row, texts in zip(table.rows, references.values())
    ]
    return table

  def take(self, rows: Sequence[int] | np.ndarray) -> 'Table':
    """The table of some of its rows, in that order."""
    return dataclasses.replace(
      self,
      rows=[self.rows[i] for i in rows],
      lines=tuple(self.lines[i] for i in rows) if self.lines else (),
    )

  def labels(self) -> np.ndarray:
    """Labels in row order: (n,) int32 or float32; multilabel (n, C) 0 or 1.

    Token classification gives an object array of lists, generation one of
    texts.

    Raises:
      ValueError: the labels of this split are hidden.
    """
    if not self.labelled:
      raise ValueError(
        f'{self.path}: split {self.split!r} of {self.task.name} has no '
        f'labels, so it can be predicted but not scored; labelled splits: '
        f'{[self.task.train_split, *self.task.eval_splits]}'
      )
    values = [row['label'] for row in self.rows]
    if self.task.kind in ('token_classification', 'generation'):
      out = np.empty(len(values), object)
      out[:] = values
      return out
    if self.task.kind == 'multilabel':
      out = np.zeros((len(values), len(self.task.labels)), np.int32)
      for row, ids in enumerate(values):
        out[row, ids] = 1
      return out
    kind = np.float32 if self.task.kind == 'regression' else np.int32
    return np.asarray(values, kind)

  def groups(self) -> list[str] | None:
    """The group of each row; None where rows stand for themselves."""
    if not self.task.grouped:
      return None
    return [str(row['idx']).rpartition('-')[0] for row in self.rows]

  @functools.cached_property
  def fingerprint(self) -> str:
    """Hash of the rows: equal rows give equal hex digits."""
    digest = hashlib.sha256()
    for row in self.rows:
      digest.update(json.dumps(row, sort_keys=True).encode())
    return digest.hexdigest()

  @functools.cached_property
  def inputs(self) -> str:
    """Hash of the rows without what they are labelled with."""
    rows = [{k: x for k, x in row.items() if k != 'label'} for row in self.rows]
    return dataclasses.replace(self, rows=rows).fingerprint
