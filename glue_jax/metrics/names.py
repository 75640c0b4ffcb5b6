"""Which metrics a kind of task has, and which fit its classes."""

from collections.abc import Sequence

from glue_jax.metrics import scores, sequence, texts

_AVERAGED = tuple(
  f'{average}_{part}'
  for average in sequence.AVERAGES
  for part in sequence.PARTS
)
_SETS = tuple(
  f'{average}_{part}'
  for average in ('macro', 'micro', 'samples')
  for part in sequence.PARTS
)
_V2 = tuple(
  f'{part}{name}'
  for part in ('', 'HasAns_', 'NoAns_', 'best_')
  for name in ('f1', 'exact')
)


# Less of these is better; of every other metric of a kind, more is.
_LESS = ('loss', 'perplexity', 'mean_squared_error')
_MORE = frozenset(
  (*scores.PLAIN, *scores.GROUPED, *_AVERAGED, *_SETS, *_V2, *texts.NAMES)
) | {'readable', 'exact_accuracy', 'structure_accuracy'}


def own_name(name: str) -> str:
  """Returns a metric's name here: that of a task file's 'f1_macro' too."""
  part, _, average = name.partition('_')
  return f'{average}_{part}' if average in sequence.AVERAGES else name


def direction(name: str) -> str | None:
  """Returns whether more ('max') or less ('min') of a metric is better.

  None where that isn't known: of thresholds, and metrics of an own kind.
  """
  if name in _LESS:
    return 'min'
  return 'max' if name in _MORE else None


def of_kind(kind: str, unanswerable: bool = False) -> tuple[str, ...]:
  """Names of the metrics of a kind of task.

  Args:
    kind: as in `Task`, with rows of labels.
    unanswerable: a span task where some questions have no answer.
  """
  if kind == 'span':
    return _V2 if unanswerable else ('f1', 'exact_match')
  return {
    'multilabel': (*_SETS, 'exact_accuracy'),
    'generation': texts.NAMES,
    'regression': ('pearson', 'spearman', 'mean_squared_error'),
    'token_classification': ('accuracy', *_AVERAGED),
  }.get(kind, (*scores.PLAIN, *scores.GROUPED, *_AVERAGED))


def fault(
  names: Sequence[str], kind: str, classes: int, unanswerable: bool = False
) -> str | None:
  """Why metrics don't fit a task, None where they do.

  Args:
    names: of the metrics.
    kind: of the task, with rows of labels.
    classes: how many it has.
    unanswerable: see `of_kind`.
  """
  known = of_kind(kind, unanswerable)
  for name in names:
    if name not in known:
      return f'unknown metric {name!r}; known are {", ".join(known)}'
    if name == 'f1' and kind == 'classification' and classes > 2:
      return (
        f'f1 is that of one class out of two, and there are {classes}; use '
        'macro_f1 or micro_f1 (in a task file f1_macro or f1_micro)'
      )
  return None
