"""Scores of the benchmarks: from predictions and labels to numbers.

Definitions follow the boards: GLUE (Wang et al. 2018, arXiv 1804.07461),
SuperGLUE (Wang et al. 2019, arXiv 1905.00537), HumSet (Fekih et al. 2022).
Everything runs on the host in float64 and ignores the order of the rows.
Values are fractions (0 to 1, correlations -1 to 1); squad.py holds the
scores of answer texts.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from glue_jax.metrics import sequence

IGNORED = -100  # label of a token that is not scored


def accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
  """Share of equal entries; tokens labelled -100 are left out."""
  predictions, labels = _pair(predictions, labels)
  kept = labels != IGNORED
  if not kept.any():
    raise ValueError('accuracy: no label left to score (all are -100)')
  return float(np.mean(predictions[kept] == labels[kept]))


def f1(predictions: np.ndarray, labels: np.ndarray) -> float:
  """F1 of class 1 (MRPC, QQP); 0 when class 1 never occurs on one side.

  Raises:
    ValueError: a class other than 0 and 1, whose errors it would not count.
  """
  from sklearn.metrics import f1_score

  predictions, labels = _pair(predictions, labels)
  found = np.union1d(predictions, labels)
  if not np.isin(found, (0, 1)).all():
    raise ValueError(
      f'f1 is that of class 1 out of 0 and 1, found {found.tolist()[:9]}; use '
      'macro_f1 or micro_f1'
    )
  return float(
    f1_score(labels == 1, predictions == 1, pos_label=True, zero_division=0)
  )


def macro_f1(predictions: np.ndarray, labels: np.ndarray) -> float:
  """Mean F1 over the classes seen (CB); a class never predicted counts 0."""
  from sklearn.metrics import f1_score

  predictions, labels = _scored(predictions, labels)
  return float(f1_score(labels, predictions, average='macro', zero_division=0))


def matthews(predictions: np.ndarray, labels: np.ndarray) -> float:
  """Matthews correlation, any number of classes (CoLA, AX, AX-b).

  It is 0, not NaN, when predictions or labels are constant.
  """
  predictions, labels = _pair(predictions, labels)
  if _constant(predictions) or _constant(labels):
    return 0.0
  from sklearn.metrics import matthews_corrcoef

  return float(matthews_corrcoef(labels, predictions))


def pearson(predictions: np.ndarray, labels: np.ndarray) -> float:
  """Linear correlation (STS-B); 0 with a warning if it is undefined."""
  return _correlation('pearsonr', predictions, labels)


def spearman(predictions: np.ndarray, labels: np.ndarray) -> float:
  """Correlation of mean ranks (STS-B); 0 with a warning if undefined."""
  return _correlation('spearmanr', predictions, labels)


def mean_squared_error(
  predictions: np.ndarray | Sequence, labels: np.ndarray | Sequence
) -> float:
  """Mean of the squared differences."""
  predictions, labels = _pair(predictions, labels)
  return float(np.mean((predictions - labels.astype(np.float64)) ** 2))


def perplexity(loss_sum: float, count: float) -> float:
  """exp of the mean loss per token; inf when it does not fit a float."""
  if count <= 0:
    raise ValueError(f'perplexity over {count} tokens; expected at least 1')
  try:
    return math.exp(loss_sum / count)
  except OverflowError:
    return math.inf


def gender_parity(predictions: np.ndarray, pairs: np.ndarray) -> float:
  """Share of minimal pairs whose predictions agree (AX-g).

  Constant predictions give 1: always show it beside the accuracy.

  Args:
    predictions: (n,) class ids.
    pairs: (n,) rows with the same number form a pair.
  """
  predictions, pairs = _pair(predictions, pairs)
  members = _groups(pairs)
  odd = [p for p, rows in members.items() if len(rows) != 2]
  if odd:
    raise ValueError(
      f'gender_parity: {len(odd)} pairs do not have two rows, first {odd[0]!r}'
    )
  return float(
    np.mean([predictions[a] == predictions[b] for a, b in members.values()])
  )


def grouped_exact_match(
  predictions: np.ndarray, labels: np.ndarray, groups: Sequence
) -> float:
  """Share of groups with every row right (MultiRC EM).

  Args:
    predictions: (n,) class ids.
    labels: (n,) class ids.
    groups: n hashable keys; for MultiRC (paragraph, question).
  """
  predictions, labels = _pair(predictions, labels)
  right = predictions == labels
  members = _groups(groups).values()
  return float(np.mean([right[rows].all() for rows in members]))


def grouped_f1(
  predictions: np.ndarray,
  labels: np.ndarray,
  groups: Sequence,
  average: str = 'binary',
) -> float:
  """Mean over groups of the group's F1 (MultiRC F1m; not on the board).

  Args:
    predictions: (n,) class ids 0 or 1.
    labels: (n,) class ids 0 or 1.
    groups: n hashable keys.
    average: 'binary' = F1 of class 1; 'macro' = mean over the classes seen in
      the group, which is what a widely used library reports under this name.
  """
  from sklearn.metrics import f1_score

  predictions, labels = _pair(predictions, labels)
  scores = [
    f1_score(labels[rows], predictions[rows], average=average, zero_division=0)
    for rows in _groups(groups).values()
  ]
  return float(np.mean(scores))


def multilabel(predictions: np.ndarray, labels: np.ndarray) -> dict:
  """Scores of sets of labels (HumSet); an undefined ratio counts 0.

  Args:
    predictions: (n, C) booleans or 0/1.
    labels: (n, C) booleans or 0/1; a row may be all zero.

  Returns:
    {macro,micro,samples}_{precision,recall,f1} and exact_accuracy (the whole
    set right) as floats, class_f1 as (C,) array.
  """
  from sklearn.metrics import precision_recall_fscore_support as prf

  predictions, labels = _pair(predictions, labels)
  if labels.ndim != 2:
    raise ValueError(f'multilabel: expected (n, C), got shape {labels.shape}')
  predictions, labels = predictions.astype(bool), labels.astype(bool)
  scores = {}
  for average in ('macro', 'micro', 'samples'):
    values = prf(labels, predictions, average=average, zero_division=0)[:3]
    for name, value in zip(('precision', 'recall', 'f1'), values):
      scores[f'{average}_{name}'] = float(value)
  scores['exact_accuracy'] = float(np.mean((predictions == labels).all(axis=1)))
  scores['class_f1'] = prf(labels, predictions, zero_division=0)[2]
  return scores


PLAIN: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
  'accuracy': accuracy,
  'f1': f1,
  'macro_f1': macro_f1,
  'matthews': matthews,
  'pearson': pearson,
  'spearman': spearman,
  'mean_squared_error': mean_squared_error,
}
# These read groups as well: a key per row.
GROUPED: dict[str, Callable] = {
  'gender_parity': lambda p, _, groups: gender_parity(p, groups),
  'exact_match': grouped_exact_match,
  'f1_m': grouped_f1,
}


def compute(
  names: Sequence[str],
  predictions: np.ndarray | Sequence,
  labels: np.ndarray | Sequence,
  groups: Sequence | np.ndarray | None = None,
) -> dict[str, float]:
  """Computes the named metrics of one split.

  Args:
    names: names in PLAIN or GROUPED, or `<average>_<part>` of `multilabel`
      when predictions are (n, C), of `sequence.class_scores` else.
    predictions: (n,) class ids or numbers, (n, C) label sets, or (n, L) tags.
    labels: same shape; tags of -100 are ignored.
    groups: a key per row, for the metrics in GROUPED.

  Returns:
    {name: value} in the order of `names`.

  Raises:
    ValueError: unknown name, lengths that differ, no rows.
  """
  predictions, labels = _pair(predictions, labels)
  sets = None
  result = {}
  for name in names:
    if name in PLAIN:
      result[name] = PLAIN[name](predictions, labels)
    elif name in GROUPED:
      if groups is None:
        raise ValueError(f'metric {name!r} needs groups: one key per row')
      result[name] = GROUPED[name](predictions, labels, groups)
    else:
      if sets is None:
        wide = labels.ndim == 2
        score = multilabel if wide else sequence.class_scores
        sets = score(predictions, labels)
        sets = {k: v for k, v in sets.items() if k != 'classes'}
      if name not in sets:
        known = sorted({*PLAIN, *GROUPED, *sets})
        raise ValueError(f'unknown metric {name!r}; known here: {known}')
      result[name] = sets[name]
  return result


class Average(NamedTuple):
  """A benchmark's average and how it was taken."""

  value: float
  convention: str


# task -> the columns whose plain mean is the task's score.
GLUE_COLUMNS: dict[str, tuple[str, ...]] = {
  'cola': ('matthews',),
  'sst2': ('accuracy',),
  'mrpc': ('f1', 'accuracy'),
  'stsb': ('pearson', 'spearman'),
  'qqp': ('f1', 'accuracy'),
  'mnli': ('matched_accuracy', 'mismatched_accuracy'),
  'qnli': ('accuracy',),
  'rte': ('accuracy',),
  'wnli': ('accuracy',),
}
SUPERGLUE_COLUMNS: dict[str, tuple[str, ...]] = {
  'boolq': ('accuracy',),
  'cb': ('macro_f1', 'accuracy'),
  'copa': ('accuracy',),
  'multirc': ('f1', 'exact_match'),
  'record': ('f1', 'exact_match'),
  'rte': ('accuracy',),
  'wic': ('accuracy',),
  'wsc': ('accuracy',),
}


def glue_average(
  scores: Mapping[str, Mapping[str, float]], leave_out: Sequence[str] = ()
) -> Average:
  """GLUE score: mean over tasks of the mean of each task's metrics.

  AX is not counted. Published tables often leave WNLI out: pass
  leave_out=('wnli',); the convention returned says so.

  Args:
    scores: {task: {metric: value}} with the columns of GLUE_COLUMNS, all on
      one scale.
    leave_out: tasks not averaged.

  Raises:
    ValueError: a task or metric is missing, or leave_out names no task.
  """
  return _average('GLUE', GLUE_COLUMNS, scores, leave_out)


def superglue_average(
  scores: Mapping[str, Mapping[str, float]], leave_out: Sequence[str] = ()
) -> Average:
  """SuperGLUE score, as `glue_average`; AX-b and AX-g are not counted."""
  return _average('SuperGLUE', SUPERGLUE_COLUMNS, scores, leave_out)


def _average(board, columns, scores, leave_out) -> Average:
  unknown = sorted(set(leave_out) - set(columns))
  if unknown:
    raise ValueError(f'{board}: cannot leave out {unknown}: not its tasks')
  missing, values = [], []
  for task, names in columns.items():
    if task in leave_out:
      continue
    row = scores.get(task, {})
    missing += [f'{task}/{name}' for name in names if name not in row]
    if all(name in row for name in names):
      values.append(np.mean([row[name] for name in names]))
  if missing:
    raise ValueError(
      f'{board} average needs {missing}; give them or leave the tasks out'
    )
  without = f' without {", ".join(sorted(leave_out))}' if leave_out else ''
  return Average(
    float(np.mean(values)),
    f'{board}: mean of {len(values)} tasks{without}, each the mean of its '
    'board metrics',
  )


def _pair(predictions, labels) -> tuple[np.ndarray, np.ndarray]:
  """Both as arrays of one shape with at least one row."""
  predictions, labels = np.asarray(predictions), np.asarray(labels)
  if predictions.shape != labels.shape:
    raise ValueError(
      f'predictions have shape {predictions.shape}, labels {labels.shape}; '
      'expected one prediction per label'
    )
  if not labels.size:
    raise ValueError('no rows to score')
  return predictions, labels


def _scored(predictions, labels):
  """Flat predictions and labels without the ignored tokens."""
  predictions, labels = _pair(predictions, labels)
  kept = labels != IGNORED
  return predictions[kept], labels[kept]


def _constant(x: np.ndarray) -> bool:
  return bool((x == x.flat[0]).all())


def _correlation(function: str, predictions, labels) -> float:
  predictions, labels = _pair(predictions, labels)
  predictions = predictions.astype(np.float64)
  labels = labels.astype(np.float64)
  bad = int((~np.isfinite(predictions)).sum())
  if bad:
    raise ValueError(
      f'{bad} of {predictions.size} predictions are not finite; a correlation '
      'needs numbers'
    )
  if _constant(predictions) or _constant(labels):
    side = 'predictions' if _constant(predictions) else 'labels'
    warnings.warn(
      f'correlation of constant {side} is undefined; reported as 0',
      stacklevel=3,
    )
    return 0.0
  from scipy import stats

  with warnings.catch_warnings():
    # Nearly constant input is no error; the value is finite.
    warnings.simplefilter('ignore', stats.NearConstantInputWarning)
    return float(getattr(stats, function)(predictions, labels)[0])


def _groups(keys: Sequence | np.ndarray) -> dict:
  """{key: row numbers}."""
  members: dict = {}
  for row, key in enumerate(keys):
    key = tuple(key) if isinstance(key, (list, np.ndarray)) else key
    members.setdefault(key, []).append(row)
  return members
