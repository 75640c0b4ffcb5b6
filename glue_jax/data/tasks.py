"""Tasks as plain records.

GLUE (Wang et al. 2018, arXiv 1804.07461), SQuAD 1.1 / 2.0 (Rajpurkar et al.
2016, arXiv 1606.05250; 2018, arXiv 1806.03822) and mini-GLUE (synthetic.py).
Feature names, label order and row counts are those of the
tensorflow-datasets builders `glue` 2.0.0 and `squad` 3.0.0, so every reader
gives the same rows; `Tsv` maps them to the columns of the `glue_data` files.
"""

import dataclasses
from collections.abc import Mapping, Sequence

KINDS = (
  'classification',
  'regression',
  'span',
  'token_classification',
  'multiple_choice',
  'language_modeling',
)


@dataclasses.dataclass(frozen=True)
class Tsv:
  """Columns of a task's tab-separated files.

  Attributes:
    columns: header name of each text column, in the order of `Task.columns`.
    label: header name of the label.
    idx: header name of the row's id, '' where the row number is the id.
    headerless: column names of files without a header line.
  """

  columns: tuple[str, ...]
  label: str = 'label'
  idx: str = ''
  headerless: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Task:
  """What a task is; nothing about how it is learnt.

  Attributes:
    name: key of the record.
    kind: one of KINDS.
    columns: text columns.
    labels: class names in id order.
    metrics: names known to glue_jax.metrics, the first one selects models.
    direction: 'max' or 'min', for the first metric.
    splits: row count of each official split, None where unknown.
    train_split, eval_splits, test_splits: which splits are for what; only
      rows of test splits may lack a label.
    submission: file name in the benchmark's zip by test split.
    label_column: name of the label in JSONL, CSV and own TSV files.
    label_range: lowest and highest target of a regression task.
    choices: columns of a multiple-choice task which are the choices.
    unanswerable: a span task where some questions have no answer.
    folder: folder name in the `glue_data` layout.
    stems: file names without extension by split.
    tsv: columns in the `glue_data` layout.
    tfds: builder and config of tensorflow-datasets, e.g. 'glue/cola'.
    generated: the rows come from synthetic.py.
  """

  name: str
  kind: str
  columns: tuple[str, ...]
  labels: tuple[str, ...] = ()
  metrics: tuple[str, ...] = ('accuracy',)
  direction: str = 'max'
  splits: Mapping[str, int | None] = dataclasses.field(
    default_factory=dict, hash=False
  )
  train_split: str = 'train'
  eval_splits: tuple[str, ...] = ('validation',)
  test_splits: tuple[str, ...] = ('test',)
  submission: Mapping[str, str] = dataclasses.field(
    default_factory=dict, hash=False
  )
  label_column: str = 'label'
  label_range: tuple[float, float] | None = None
  choices: tuple[str, ...] = ()
  unanswerable: bool = False
  folder: str = ''
  stems: Mapping[str, tuple[str, ...]] = dataclasses.field(
    default_factory=dict, hash=False
  )
  tsv: Tsv | None = None
  tfds: str = ''
  generated: bool = False

  def label_id(self, value: object) -> int:
    """Class id of a label given by name or by number.

    Names go first, so a task may have numbers as names ('1', '2', '3').

    Raises:
      ValueError: neither a name nor an id of this task.
    """
    name = str(value).strip()
    if name in self.labels:
      return self.labels.index(name)
    try:
      number = int(value) if isinstance(value, bool) else int(name)
    except ValueError:
      number = -1
    if 0 <= number < len(self.labels) and not self._numeric_names():
      return number
    raise ValueError(
      f'unknown label {value!r} of task {self.name}; expected one of '
      f'{list(self.labels)} or its number'
    )

  def label_names(self, ids: Sequence[int]) -> list[str]:
    """Names of class ids."""
    return [self.labels[int(i)] for i in ids]

  def _numeric_names(self) -> bool:
    return any(name.lstrip('-').isdigit() for name in self.labels)


def num_outputs(task: Task) -> int:
  """Number of logits a head for this task gives (per example or token)."""
  fixed = {
    'regression': 1,
    'span': 2,
    'multiple_choice': 1,
    'language_modeling': 0,
  }
  return fixed.get(task.kind, len(task.labels))


_PAIR = ('sentence1', 'sentence2')
_NLI2 = ('entailment', 'not_entailment')
_NLI3 = ('entailment', 'neutral', 'contradiction')
_STEMS = {
  'train': ('train',),
  'validation': ('dev', 'validation', 'val', 'valid'),
  'test': ('test',),
}


def _glue(
  name: str,
  folder: str,
  columns: tuple[str, ...],
  labels: tuple[str, ...],
  metrics: tuple[str, ...],
  counts: tuple[int, int, int],
  tsv: Tsv,
) -> Task:
  return Task(
    name=name,
    kind='classification' if labels else 'regression',
    columns=columns,
    labels=labels,
    metrics=metrics,
    splits=dict(zip(('train', 'validation', 'test'), counts)),
    submission={'test': f'{folder}.tsv'},
    folder=folder,
    stems=_STEMS,
    tsv=tsv,
    tfds=f'glue/{name}',
    label_range=None if labels else (0.0, 5.0),
  )


def _mnli() -> Task:
  halves = ('matched', 'mismatched')
  return Task(
    name='mnli',
    kind='classification',
    columns=('premise', 'hypothesis'),
    labels=_NLI3,
    metrics=('accuracy',),
    splits={
      'train': 392702,
      'validation_matched': 9815,
      'validation_mismatched': 9832,
      'test_matched': 9796,
      'test_mismatched': 9847,
    },
    eval_splits=tuple(f'validation_{half}' for half in halves),
    test_splits=tuple(f'test_{half}' for half in halves),
    submission={'test_matched': 'MNLI-m.tsv', 'test_mismatched': 'MNLI-mm.tsv'},
    folder='MNLI',
    stems={
      'train': ('train',),
      **{
        f'validation_{h}': (f'dev_{h}', f'validation_{h}', f'val_{h}')
        for h in halves
      },
      **{f'test_{h}': (f'test_{h}',) for h in halves},
    },
    tsv=Tsv(_PAIR, label='gold_label', idx='index'),
    tfds='glue/mnli',
  )


def _squad(name: str, version: str, counts: tuple[int, int], **fields) -> Task:
  return Task(
    name=name,
    kind='span',
    columns=('question', 'context'),
    splits=dict(zip(('train', 'validation'), counts)),
    test_splits=(),
    submission={'validation': 'predictions.json'},
    folder=name,
    stems={
      'train': (f'train-{version}', 'train'),
      'validation': (f'dev-{version}', 'dev', 'validation'),
    },
    tfds=f'squad/{version}',
    **fields,
  )


def _mini(name: str, columns: tuple[str, ...], labels: tuple[str, ...]) -> Task:
  return Task(
    name=name,
    kind='classification',
    columns=columns,
    labels=labels,
    metrics=('accuracy',),
    splits={'train': 8000, 'validation': 500, 'test': 500},
    generated=True,
  )


_ALL = (
  _glue(
    'cola',
    'CoLA',
    ('sentence',),
    ('unacceptable', 'acceptable'),
    ('matthews', 'accuracy'),
    (8551, 1043, 1063),
    Tsv(
      ('sentence',),
      idx='index',
      headerless=('source', 'label', 'mark', 'sentence'),
    ),
  ),
  _glue(
    'sst2',
    'SST-2',
    ('sentence',),
    ('negative', 'positive'),
    ('accuracy',),
    (67349, 872, 1821),
    Tsv(('sentence',), idx='index'),
  ),
  _glue(
    'mrpc',
    'MRPC',
    _PAIR,
    ('not_equivalent', 'equivalent'),
    ('f1', 'accuracy'),
    (3668, 408, 1725),
    Tsv(('#1 String', '#2 String'), label='Quality', idx='index'),
  ),
  _glue(
    'qqp',
    'QQP',
    ('question1', 'question2'),
    ('not_duplicate', 'duplicate'),
    ('f1', 'accuracy'),
    (363846, 40430, 390965),
    Tsv(('question1', 'question2'), label='is_duplicate', idx='id'),
  ),
  _glue(
    'stsb',
    'STS-B',
    _PAIR,
    (),
    ('pearson', 'spearman'),
    (5749, 1500, 1379),
    Tsv(_PAIR, label='score', idx='index'),
  ),
  _mnli(),
  _glue(
    'qnli',
    'QNLI',
    ('question', 'sentence'),
    _NLI2,
    ('accuracy',),
    (104743, 5463, 5463),
    Tsv(('question', 'sentence'), idx='index'),
  ),
  _glue(
    'rte',
    'RTE',
    _PAIR,
    _NLI2,
    ('accuracy',),
    (2490, 277, 3000),
    Tsv(_PAIR, idx='index'),
  ),
  _glue(
    'wnli',
    'WNLI',
    _PAIR,
    ('not_entailment', 'entailment'),
    ('accuracy',),
    (635, 71, 146),
    Tsv(_PAIR, idx='index'),
  ),
  Task(
    name='ax',
    kind='classification',
    columns=('premise', 'hypothesis'),
    labels=_NLI3,
    metrics=('matthews', 'accuracy'),
    splits={'test': 1104},
    train_split='',
    eval_splits=(),
    submission={'test': 'AX.tsv'},
    folder='diagnostic',
    stems={'test': ('diagnostic', 'AX', 'test')},
    tsv=Tsv(_PAIR, idx='index'),
    tfds='glue/ax',
  ),
  _squad('squad_v1', 'v1.1', (87599, 10570), metrics=('f1', 'exact_match')),
  _squad(
    'squad_v2',
    'v2.0',
    (130319, 11873),
    metrics=('f1', 'exact'),
    unanswerable=True,
  ),
  _mini('mini_acceptability', ('sentence',), ('unacceptable', 'acceptable')),
  _mini('mini_sentiment', ('sentence',), ('negative', 'positive')),
  _mini('mini_entailment', ('premise', 'hypothesis'), _NLI2),
)

TASKS: dict[str, Task] = {task.name: task for task in _ALL}

_OWN_METRICS = {
  'classification': ('accuracy',),
  'regression': ('pearson', 'spearman'),
  'span': ('f1', 'exact_match'),
  'token_classification': ('accuracy',),
  'multiple_choice': ('accuracy',),
  'language_modeling': ('perplexity',),
}


def get(name: str) -> Task:
  """The record of a known task.

  Raises:
    ValueError: unknown name; lists the known ones.
  """
  if name not in TASKS:
    raise ValueError(
      f'unknown task {name!r}; known tasks: {", ".join(TASKS)}. An own task '
      f"needs task.kind and task.columns, e.g. kind='classification', "
      f"columns=('text',), labels=('no', 'yes')"
    )
  return TASKS[name]


def make(
  name: str,
  *,
  kind: str | None = None,
  columns: Sequence[str] | None = None,
  label: str | None = None,
  labels: Sequence[str] | None = None,
  metrics: Sequence[str] | None = None,
  direction: str | None = None,
  choices: Sequence[str] | None = None,
  label_range: Sequence[float] | None = None,
  train_split: str | None = None,
  eval_splits: Sequence[str] | None = None,
  test_splits: Sequence[str] | None = None,
) -> Task:
  """A known task with fields replaced, or a user's own task.

  Args:
    name: a key of TASKS, or any other name for an own task, which then needs
      `kind` and `columns` (and `labels` where there are classes).
    label: name of the label column in JSONL, CSV and TSV files.
    others: as in Task; None keeps the default.

  Returns:
    The record.

  Raises:
    ValueError: an own task lacks something, or a field is not valid.
  """
  given = {
    'kind': kind,
    'columns': _names(columns),
    'label_column': label,
    'labels': _names(labels),
    'metrics': _names(metrics),
    'direction': direction,
    'choices': _names(choices),
    'label_range': None if label_range is None else tuple(label_range),
    'train_split': train_split,
    'eval_splits': _names(eval_splits),
    'test_splits': _names(test_splits),
  }
  given = {key: value for key, value in given.items() if value is not None}
  if name in TASKS:
    task = dataclasses.replace(TASKS[name], **given)
  else:
    if 'kind' not in given:
      get(name)
    given.setdefault('metrics', _OWN_METRICS.get(kind, ()))
    if metrics is None and kind == 'language_modeling':
      given.setdefault('direction', 'min')
      given.setdefault('columns', ('text',))
      given.setdefault('test_splits', ())
    given.setdefault('columns', ())
    task = Task(name=name, stems=_STEMS, folder=name, **given)
  _check(task)
  return task


def _names(value: Sequence[str] | None) -> tuple[str, ...] | None:
  if isinstance(value, str):
    return tuple(part.strip() for part in value.split(',') if part.strip())
  return None if value is None else tuple(str(part) for part in value)


def _check(task: Task) -> None:
  classed = task.kind in ('classification', 'token_classification')
  problems = [
    (task.kind not in KINDS, f'kind={task.kind!r} is not one of {KINDS}'),
    (not task.columns, "columns is empty; name the text columns, e.g. ('text',)"),
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
      task.kind == 'classification' and len(task.columns) > 2,
      f'columns={task.columns}: one text or a pair is expected',
    ),
    (
      task.kind == 'multiple_choice'
      and not (
        len(task.choices) > 1 and set(task.choices) < set(task.columns)
      ),
      f'choices={task.choices} must name two or more of columns='
      f'{task.columns}, leaving at least one for the context',
    ),
  ]
  found = [text for wrong, text in problems if wrong]
  if found:
    raise ValueError(f'task {task.name!r}: ' + '; '.join(found))
