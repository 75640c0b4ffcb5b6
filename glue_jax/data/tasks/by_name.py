"""Tasks by name, and a user's own tasks."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from glue_jax.config.ranges import Integer, Number, OneOf
from glue_jax.data import prompts
from glue_jax.data.tasks import (
  e2e,
  glue,
  humset,
  lepiszcze,
  own_file,
  polish,
  superglue,
)
from glue_jax.data.tasks.task import (
  CORPUS_KINDS,
  KINDS,
  PAIR_KINDS,
  STEMS,
  Prompt,
  Task,
)
from glue_jax.metrics import names as metric_names
from glue_jax.metrics import sequence

# Names; in a string they stand between commas.
Texts = str | Sequence[str | Integer]

TASKS: dict[str, Task] = {
  task.name: task
  for records in (
    glue,
    superglue,
    humset,
    lepiszcze,
    polish,
    e2e,
  )
  for task in records.RECORDS
}

_OWN_METRICS = {
  'classification': ('accuracy',),
  'multilabel': ('macro_f1', 'exact_accuracy'),
  'regression': ('pearson', 'spearman'),
  'span': ('f1', 'exact_match'),
  'token_classification': ('macro_f1', 'micro_f1', 'accuracy'),
  'multiple_choice': ('accuracy',),
  'generation': ('bleu', 'rougeL', 'chrf'),
  'language_modeling': ('perplexity',),
  **dict.fromkeys(PAIR_KINDS, ('perplexity', 'structure_accuracy')),
  'sentences': ('loss',),
}


def num_outputs(task: Task) -> int:
  """Number of logits a head for this task gives (per example or token)."""
  fixed = {
    'regression': 1,
    'span': 2,
    'multiple_choice': 1,
    'generation': 0,
    'language_modeling': 0,
    'sentence_structure': 3,
    'next_sentence': 2,
    'sentence_order': 2,
  }
  return fixed.get(task.form, len(task.labels))


def get(name: str) -> Task:
  """The record of a known task.

  Raises:
    ValueError: unknown name; lists the known ones.
  """
  if name not in TASKS:
    raise ValueError(
      f'unknown task {name!r}; known tasks: {", ".join(TASKS)}. An own task '
      f"needs task.kind and task.columns, e.g. kind='classification', "
      f"columns=('text',), labels=('no', 'yes'); or task.name='FILE.yaml'"
    )
  return TASKS[name]


def make(
  name: str,
  *,
  kind: Annotated[str, OneOf(KINDS)] | None = None,
  columns: Texts | None = None,
  label: str | None = None,
  group: str | None = None,
  labels: Texts | None = None,
  metrics: Texts | None = None,
  direction: Literal['max', 'min'] | None = None,
  choices: Texts | None = None,
  label_range: tuple[Number, Number] | None = None,
  train_split: str | None = None,
  eval_splits: Texts | None = None,
  test_splits: Texts | None = None,
  cuts: Mapping[str, Mapping[str, Any]] | None = None,
  given_back: Texts | None = None,
  seq_mode: Annotated[str, OneOf(sequence.MODES)] | None = None,
  unanswerable: bool | None = None,
  prompt: str | None = None,
  words: Texts | None = None,
  closing: str = '',
) -> Task:
  """A known task with fields replaced, or a user's own task.

  Args:
    name: a key of TASKS, or an own task's YAML file (see own_file.py), or any
      other name for an own task, which then needs `kind` and `columns` (and
      `labels` where there are classes).
    label: name of the label column in JSONL, CSV and TSV files.
    group: name of the column there whose rows stay together in folds.
    cuts: {split: {'from', 'fraction', 'seed'}}, or a fold, see task.Cut.
    unanswerable: a span task where some questions have no answer.
    prompt, words, closing: of `task.Prompt`; the words are the labels where
      none are given.
    others: as in Task; None keeps the default.

  Returns:
    The record.

  Raises:
    ValueError: an own task lacks something, or a field is not valid.
  """
  given: dict[str, Any] = {
    'kind': kind,
    'columns': _names(columns),
    'label_column': label,
    'group_column': group,
    'labels': _names(labels),
    'metrics': _names(metrics),
    'direction': direction,
    'choices': _names(choices),
    'label_range': None if label_range is None else tuple(label_range),
    'train_split': train_split,
    'eval_splits': _names(eval_splits),
    'test_splits': _names(test_splits),
    'cuts': None
    if cuts is None
    else {s: own_file.cut(c) for s, c in cuts.items()},
    'given_back': _names(given_back),
    'seq_mode': seq_mode,
    'unanswerable': unanswerable,
  }
  given = {key: value for key, value in given.items() if value is not None}
  if name in TASKS:
    task = dataclasses.replace(TASKS[name], **given)
  elif own_file.is_file_name(name):
    task = _own({**own_file.read(name, TASKS), **given})
  else:
    if 'kind' not in given:
      get(name)
    if metrics is None and kind in CORPUS_KINDS:
      given.setdefault('direction', 'min')
      given.setdefault('columns', ('text',))
      given.setdefault('test_splits', ())
    given.setdefault('columns', ())
    task = _own({'name': name, 'stems': STEMS, 'folder': name, **given})
  if task.kind == 'token_classification' and not task.seq_mode:
    task = dataclasses.replace(task, seq_mode=_seq_mode(task))
  if prompt is not None:
    said = _names(words) or (task.labels if task.kind != 'generation' else ())
    task = dataclasses.replace(task, prompt=Prompt(prompt, said, closing))
  elif words or closing:
    raise ValueError(
      f'task {task.name!r}: words={words!r}, closing={closing!r} are of a '
      'prompt, and there is none; give task.prompt'
    )
  _check(task)
  return task


def _own(fields: dict[str, Any]) -> Task:
  """An own task, with the metrics of its kind where it names none."""
  usual = _OWN_METRICS.get(fields['kind'], ())
  if fields['kind'] == 'span' and fields.get('unanswerable'):
    usual = ('f1', 'exact')
  return Task(**{'metrics': usual, **fields})


def _seq_mode(task: Task) -> str:
  try:
    return sequence.usual_mode(task.labels)
  except ValueError as error:
    raise ValueError(f'task {task.name!r}: labels: {error}') from None


def _names(value: Texts | None) -> tuple[str, ...] | None:
  if isinstance(value, str):
    return tuple(part.strip() for part in value.split(',') if part.strip())
  return None if value is None else tuple(str(part) for part in value)


def _check(task: Task) -> None:
  classed = task.kind in (
    'classification',
    'multilabel',
    'token_classification',
  )
  problems = [
    (task.kind not in KINDS, f'kind={task.kind!r} is not one of {KINDS}'),
    (
      not task.columns,
      "columns is empty; name the text columns, e.g. ('text',)",
    ),
    (
      task.direction not in ('max', 'min'),
      f"direction={task.direction!r} must be 'max' or 'min'",
    ),
    (
      classed and len(task.labels) < 2,
      f'labels={task.labels} must name at least two classes in id order',
    ),
    (
      len(set(task.labels)) != len(task.labels),
      f'labels={task.labels} repeats a name',
    ),
    (
      bool(task.seq_mode) and task.seq_mode not in sequence.MODES,
      f'seq_mode={task.seq_mode!r} is not one of {sequence.MODES}',
    ),
    (
      bool(task.seq_mode) and task.kind != 'token_classification',
      f'seq_mode={task.seq_mode!r} is for sequence labelling only, not for '
      f'{task.kind}',
    ),
    (
      task.kind in ('classification', 'multilabel') and len(task.columns) > 2,
      f'columns={task.columns}: one text or a pair is expected',
    ),
    (
      task.kind == 'multiple_choice'
      and not (len(task.choices) > 1 and set(task.choices) < set(task.columns)),
      f'choices={task.choices} must name two or more of columns='
      f'{task.columns}, leaving at least one for the context',
    ),
  ]
  errors = [text for wrong, text in problems if wrong]
  if not errors:
    errors = [fault for fault in _faults(task) if fault]
  if errors:
    raise ValueError(f'task {task.name!r}: ' + '; '.join(errors))


def _faults(task: Task) -> list[str | None]:
  """Metrics and tags that don't fit a task."""
  if task.kind in CORPUS_KINDS:
    return []
  classes = 0 if task.candidates else len(task.labels)
  metrics = metric_names.fault(
    task.metrics, task.kind, classes, task.unanswerable
  )
  if not task.seq_mode:
    return [metrics, prompts.fault(task)]
  tags = sequence.tag_fault(task.labels, task.seq_mode)
  return [metrics, f'labels: {tags}' if tags else None]
