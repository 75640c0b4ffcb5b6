"""Texts in, labels out: splits of a task, own files, standard input."""

import dataclasses
import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO

from glue_jax.config import config
from glue_jax.data import label_names, load, pipeline
from glue_jax.data.tasks.task import CORPUS_KINDS, Task
from glue_jax.devices import sharding
from glue_jax.evaluation import evaluate
from glue_jax.evaluation.predictions import Predictions
from glue_jax.inference import own_texts
from glue_jax.reporting import files as files_lib

FORMATS = ('jsonl', 'tsv')


def predict_split(run: Any, split: str) -> Predictions:
  """Predicts a split that the run was loaded with, in the order of its rows.

  Args:
    run: from `open_run.load_run(..., eval_splits=(split,))`.
    split: name of the split; it may be unlabelled.
  """
  _has_predictions(run.task)
  bundle = run.bundle
  return evaluate.predict(
    run.predict_fn, bundle.evals[split], run.task, bundle.tables[split]
  )


def predict_rows(
  run: Any, rows: Sequence[dict], source: str = 'rows', first: int = 0
) -> Predictions:
  """Predicts texts that are in no split.

  Args:
    run: from `open_run.load_run`.
    rows: dicts with the task's columns, and perhaps 'idx' or 'id'. A blank
      text is predicted as such, with a warning.
    source: named in errors.
    first: number of the first row.

  Returns:
    Predictions with the rows' ids, or their numbers.

  Raises:
    ValueError: a row lacks a column, or the task has no predictions.
  """
  _has_predictions(run.task)
  data = config.plain(run.config.data)
  known = ('doc_stride', 'max_query_length', 'segments')
  settings = {key: data[key] for key in known if key in data}
  table, batches = pipeline.from_rows(
    run.task,
    rows,
    run.tokenizer,
    max_length=run.bundle.buckets[-1],
    buckets=run.bundle.buckets,
    batch_size=sharding.shared_rows(
      data.get('eval_batch_size', 64), run.parts.mesh
    ),
    source=source,
    first=first,
    **settings,
  )
  for note in table.notes:
    logging.warning(note)
  return evaluate.predict(run.predict_fn, batches, run.task, table)


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
  first = 0
  for rows in own_texts.groups(path, run.task, style):
    yield predict_rows(run, rows, own_texts.named(path), first)
    first += len(rows)


def write(
  predictions: Predictions, path: str | os.PathLike, style: str = 'jsonl'
) -> None:
  """Writes predictions in the order of their rows; see `write_parts`."""
  write_parts([predictions], path, style)


def write_parts(
  parts: Iterable[Predictions], path: str | os.PathLike, style: str = 'jsonl'
) -> int:
  """Writes predictions as they come, on process 0.

  Args:
    parts: what to write, in order.
    path: '-' = standard output, which has each part at once; a file is there
      when all is written.
    style: 'jsonl': one record a line; 'tsv': idx, prediction, and one column
      of probabilities a class.

  Returns:
    how many predictions there were.

  Raises:
    ValueError: unknown style.
  """
  if style not in FORMATS:
    raise ValueError(f'format {style!r}; expected one of {FORMATS}')
  if str(path) == '-':
    return _write_to(sys.stdout, parts, style)
  if not files_lib.is_first_process():
    return sum(map(len, parts))
  with (
    files_lib.whole(path) as part,
    part.open('w', encoding='utf-8') as file,
  ):
    return _write_to(file, parts, style)


def _write_to(file: TextIO, parts: Iterable[Predictions], style: str) -> int:
  count = 0
  for predictions in parts:
    if style == 'tsv':
      text = _tsv(predictions, header=count == 0)
    else:
      text = _jsonl(predictions)
    count += len(predictions)
    if files_lib.is_first_process():
      file.write(text)
      file.flush()
  return count


def _jsonl(predictions: Predictions) -> str:
  return ''.join(
    json.dumps(record, ensure_ascii=False) + '\n'
    for record in predictions.records()
  )


def _tsv(predictions: Predictions, header: bool) -> str:
  names: list[str] = []
  lines = []
  for record in predictions.records():
    flat = dict(record)
    shares = flat.pop('probabilities', {})
    flat |= {f'p({name})': f'{value:.6f}' for name, value in shares.items()}
    names = names or list(flat)
    lines.append([_field(value) for value in flat.values()])
  table = [names, *lines] if header else lines
  return ''.join('\t'.join(line) + '\n' for line in table)


def _field(value: Any) -> str:
  """A value without tabs and line ends, so that rows stay rows."""
  if isinstance(value, list):
    value = ' '.join('-' if tag is None else tag for tag in value)
  return ' '.join(str(value).split()) if isinstance(value, str) else str(value)


def _has_predictions(task: Task) -> None:
  if task.kind in CORPUS_KINDS:
    raise ValueError(
      f'task {task.name} is {task.kind}: it has no labels to predict; '
      'use launch.evaluate for its perplexity'
    )
