"""Texts in, labels out: splits of a task, own files, standard input."""

import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from glue_jax.config import config
from glue_jax.data import label_names, load, pipeline
from glue_jax.data.readers import files
from glue_jax.data.tasks.task import CORPUS_KINDS, Task
from glue_jax.evaluation import evaluate
from glue_jax.evaluation.predictions import Predictions
from glue_jax.reporting import files as files_lib

FORMATS = ('jsonl', 'tsv')
_STDIN = '/dev/stdin'


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
  run: Any, rows: Sequence[dict], source: str = 'rows'
) -> Predictions:
  """Predicts texts that are in no split.

  Args:
    run: from `open_run.load_run`.
    rows: dicts with the task's columns.
    source: named in errors.

  Returns:
    Predictions with idx 0, 1, ...

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
    batch_size=data.get('eval_batch_size', 64),
    source=source,
    **settings,
  )
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


def read_texts(path: str, task: Task) -> list[dict]:
  """Reads own texts: one row a line.

  Args:
    path: '-' = standard input; a .jsonl file holds objects with the task's
      columns; any other one text a line, or for tasks with several columns
      that many fields with tabs between them and no header.
    task: the task's record.

  Raises:
    ValueError: blank line, wrong number of fields, bad bytes: with the line.
    FileNotFoundError: no such file.
  """
  file = pathlib.Path(_STDIN if path == '-' else path)
  name = '<stdin>' if path == '-' else path
  columns = task.columns
  log = files.Log(pathlib.Path(name))
  if name.removesuffix('.gz').endswith('.jsonl'):
    return [record for _, record in files.read_jsonl(file, log, columns)]
  rows = []
  for number, line in files.lines(file, log):
    # In a task of one text a tab is part of the text.
    fields = line.split('\t') if len(columns) > 1 else [line]
    if len(fields) != len(columns):
      raise ValueError(
        f'{name}:{number}: {len(fields)} fields; {task.name} expects '
        f'{len(columns)} with tabs between them: {", ".join(columns)}'
      )
    rows.append(dict(zip(columns, fields)))
  return rows


def write(
  predictions: Predictions, path: str | os.PathLike, style: str = 'jsonl'
) -> None:
  """Writes predictions in the order of their rows, on process 0.

  Args:
    predictions: what to write.
    path: '-' = standard output.
    style: 'jsonl': one record a line; 'tsv': idx, prediction, and one column
      of probabilities a class.

  Raises:
    ValueError: unknown style.
  """
  if style not in FORMATS:
    raise ValueError(f'format {style!r}; expected one of {FORMATS}')
  if not files_lib.is_first_process():
    return
  text = _jsonl(predictions) if style == 'jsonl' else _tsv(predictions)
  if str(path) == '-':
    sys.stdout.write(text)
    sys.stdout.flush()
  else:
    files_lib.replace_text(path, text)


def _jsonl(predictions: Predictions) -> str:
  return ''.join(
    json.dumps(record, ensure_ascii=False) + '\n'
    for record in predictions.records()
  )


def _tsv(predictions: Predictions) -> str:
  header, lines = [], []
  for record in predictions.records():
    flat = dict(record)
    shares = flat.pop('probabilities', {})
    flat |= {f'p({name})': f'{value:.6f}' for name, value in shares.items()}
    header = header or list(flat)
    lines.append([_field(value) for value in flat.values()])
  return ''.join('\t'.join(line) + '\n' for line in [header, *lines])


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
