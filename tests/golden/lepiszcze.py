"""Golden vectors of chunk and class scores: values of seqeval, scikit-learn."""

import pathlib

import numpy as np

from glue_jax.metrics import sequence as metrics

TOLERANCE = (1e-12, 0.0)
MODES = {'conll': 'conll', 'strict_iob2': 'strict', 'unit': 'unit'}


def compare(arrays: dict, folder: pathlib.Path) -> list[tuple]:
  """Rows (name, ours, theirs, atol, rtol) for one file's arrays."""
  del folder  # all is in the arrays
  if 'label_names' in arrays:
    rows = _sequences(arrays)
  elif 'class_prfs' in arrays:
    rows = _classes(arrays)
  else:
    raise ValueError(f'no known kind of file: arrays {sorted(arrays)}')
  inputs = {'label_names', 'type_names', 'y_true', 'y_pred', 'lengths'}
  left = set(arrays) - inputs - {name for name, *_ in rows}
  if left:
    raise ValueError(f'arrays that nothing compares: {sorted(left)}')
  return rows


def _tags(ids, lengths, names):
  return [
    [str(names[i]) for i in row[:length]] for row, length in zip(ids, lengths)
  ]


def _sequences(a):
  gold, ours = (
    _tags(a[key], a['lengths'], a['label_names'])
    for key in ('y_true', 'y_pred')
  )
  rows = []
  for prefix, mode in MODES.items():
    found = metrics.sequence_scores(ours, gold, mode)
    rows += _scores(f'{prefix}_', found, a)
    names = [str(name) for name in a[f'{prefix}_class_names']]
    # A type that is missing here, or one too many, is an error of size 1.
    same = [float(names == list(found['classes']))] * len(names)
    rows.append((f'{prefix}_class_names', same, np.ones(len(names)), 0.0, 0.0))
  return rows


def _classes(a):
  found = metrics.class_scores(a['y_pred'].tolist(), a['y_true'].tolist())
  labels = list(found['classes'])
  return [*_scores('', found, a), ('labels', labels, a['labels'], 0.0, 0.0)]


def _scores(prefix, found, a):
  rows = [
    (
      f'{prefix}{average}_prf',
      [found[f'{average}_{part}'] for part in metrics.PARTS],
      a[f'{prefix}{average}_prf'],
      *TOLERANCE,
    )
    for average in metrics.AVERAGES
  ]
  table = [list(row.values()) for row in found['classes'].values()]
  table = np.reshape(table, (-1, 4))
  name = f'{prefix}accuracy'
  rows.append((name, found['accuracy'], a[name], *TOLERANCE))
  name = f'{prefix}class_prfs'
  rows.append((name, table, a[name], *TOLERANCE))
  return rows
