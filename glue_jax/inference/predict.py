"""Texts in, labels out: splits of a task, own files, standard input."""

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from glue_jax.config import config
from glue_jax.data import label_names, load, pipeline
from glue_jax.data.batching import EvalBatches
from glue_jax.data.table import Table
from glue_jax.data.tasks.task import CORPUS_KINDS, Task
from glue_jax.devices import sharding
from glue_jax.evaluation import decisions, evaluate
from glue_jax.evaluation.predictions import Predictions
from glue_jax.inference import own_texts

_FEW = (1, 8)  # rows of batches for few texts: each size is a program


def predict_split(run: Any, split: str) -> Predictions:
  """Predicts a split that the run was loaded with, in the order of its rows.

  Args:
    run: from `open_run.load_run(..., eval_splits=(split,))`.
    split: name of the split; it may be unlabelled.
  """
  _has_predictions(run.task)
  bundle = run.bundle
  found = evaluate.predict(
    run.predict_fn, bundle.evals[split], run.task, bundle.tables[split]
  )
  return decisions.decided(run.decisions, found)


def predict_rows(
  run: Any, rows: Sequence[dict], source: str = 'rows', first: int = 0
) -> Predictions:
  """Predicts texts that are in no split.

  Args:
    run: from `open_run.load_run`.
    rows: dicts with the task's columns, and perhaps 'idx' or 'id'. A blank
      text is predicted as such and a long one is cut, with a warning.
    source: named in errors.
    first: number of the first row.

  Returns:
    Predictions with the rows' ids, or their numbers.

  Raises:
    ValueError: a row lacks a column, or the task has no predictions.
  """
  _has_predictions(run.task)
  table, batches = own_batches(run, rows, source, first)
  found = evaluate.predict(run.predict_fn, batches, run.task, table)
  found.notes = table.notes
  return decisions.decided(run.decisions, found)


def own_batches(
  run: Any, rows: Sequence[dict], source: str = 'rows', first: int = 0
) -> tuple[Table, EvalBatches]:
  """Batches of texts that are in no split; what is lost of them is logged.

  Few rows make a small batch, so that one text doesn't cost what many do.

  Args:
    run, rows, source, first: see `predict_rows`.

  Returns:
    (the rows as a table, whose notes say what is blank or cut; their batches).

  Raises:
    ValueError: a row lacks a column.
  """
  data = config.plain(run.config.data)
  known = ('doc_stride', 'max_query_length', 'segments')
  settings = {key: data[key] for key in known if key in data}
  most = data.get('eval_batch_size', 64)
  size = next((s for s in _FEW if len(rows) <= s < most), most)
  table, batches = pipeline.from_rows(
    run.task,
    rows,
    run.tokenizer,
    max_length=run.bundle.buckets[-1],
    buckets=run.bundle.buckets,
    batch_size=sharding.shared_rows(size, run.parts.mesh),
    source=source,
    first=first,
    **settings,
  )
  for note in table.notes:
    logging.warning(note)
  return table, batches


def predict_task(
  run: Any, task: Task, split: str, data_dir: str | None = None
) -> Predictions:
  """Predicts a split of another task with the same labels (MNLI for AX).

  The order of the labels may be another; they are joined by their names.

  Args:
    run: a run whose task has the same kind, labels and number of columns.
    task: the other task.
    split: its split.
    data_dir: data folder.

  Raises:
    ValueError: the tasks do not fit.
  """
  ours, theirs = run.task, task
  same = ours.kind == theirs.kind and len(ours.columns) == len(theirs.columns)
  try:
    match = label_names.match(ours.labels, theirs.labels, theirs.name)
  except ValueError:
    same = False
  if not same or match.note:
    raise ValueError(
      f'a run of {ours.name} ({ours.kind}, {ours.labels}) cannot predict '
      f'{theirs.name} ({theirs.kind}, {theirs.labels})'
    )
  table = load.load(task, split, data_dir)
  rows = [
    {a: row[b] for a, b in zip(ours.columns, theirs.columns)}
    for row in table.rows
  ]
  predictions = predict_rows(run, rows, table.path)
  # Its names, in the order of the run's ids.
  names = tuple(theirs.labels[i] for i in match.order)
  predictions.task = dataclasses.replace(theirs, labels=names)
  predictions.split = split
  predictions.idx = [row['idx'] for row in table.rows]
  return predictions


def predict_texts(
  run: Any, path: str, style: str | None = None
) -> Iterator[Predictions]:
  """Predicts own texts as they come, in groups.

  Args:
    run: from `open_run.load_run`.
    path: of the file; '-' = standard input.
    style: one of `own_texts.FORMATS`; None = by ending and content.

  Raises:
    ValueError: see `own_texts.groups`; rows before are answered.
  """
  _has_predictions(run.task)
  name, first = own_texts.named(path), 0
  ids = _Ids()
  for rows in own_texts.groups(path, run.task, style):
    for number, row in enumerate(rows, first):
      ids.add(number, row)
    yield predict_rows(run, rows, name, first)
    first += len(rows)
  for note in ids.notes():
    logging.warning('%s: %s', name, note)


class _Ids:
  """What a person should know of the ids of own texts, row by row."""

  def __init__(self):
    self._seen: set[str] = set()
    self._column = False
    self._lacking: list[int] = []
    self._twice: list[str] = []
    self._both: list[int] = []

  def add(self, number: int, row: Mapping[str, Any]) -> None:
    """Takes a row as `own_texts.groups` gives it, with its number from 0."""
    self._column |= 'idx' in row
    if 'id' in row:
      self._both.append(number + 1)
    if row.get('idx') is None:
      self._lacking.append(number)
      return
    given = repr(row['idx'])
    if given in self._seen:
      self._twice.append(f'row {number + 1} ({given})')
    self._seen.add(given)

  def notes(self) -> list[str]:
    """Returns a line for each thing that was found."""
    notes = []
    if self._twice:
      notes.append(
        f'{len(self._twice)} rows have an id that an earlier row has, '
        f'{self._twice[0]} first; their order alone tells the predictions apart'
      )
    if self._lacking and self._column:
      same = sum(repr(number) in self._seen for number in self._lacking)
      notes.append(
        f'{len(self._lacking)} rows lack an id, row {self._lacking[0] + 1} '
        'first; their idx is the number of the row from 0'
        + (f', which for {same} is the id of another row' if same else '')
      )
    if self._both:
      notes.append(
        f'{len(self._both)} rows have both idx and id, row {self._both[0]} '
        'first; predictions keep idx, and id is left out'
      )
    return notes


def _has_predictions(task: Task) -> None:
  if task.kind in CORPUS_KINDS:
    raise ValueError(
      f'task {task.name} is {task.kind}: it has no labels to predict; '
      'use launch.evaluate for its perplexity'
    )
