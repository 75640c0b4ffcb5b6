"""Golden vectors of the metrics: values of the boards' own scripts.

A file is recognised by its array names, so other files of the same five kinds
can be compared as well.
"""

import json
import pathlib
import warnings

import numpy as np

from glue_jax.metrics import scores as metrics
from glue_jax.metrics import squad

TIGHT = (1e-9, 0.0)
# Correlations come from float32 inputs.
LOOSE = (1e-6, 0.0)
# Public tables show one decimal.
SHOWN = (0.0501, 0.0)


def compare(arrays: dict, folder: pathlib.Path) -> list[tuple]:
  """Rows (name, ours, theirs, atol, rtol) for one file's arrays."""
  del folder  # all is in the arrays
  for key, rows in (
    ('bin_true', _classification),
    ('paragraph', _multirc),
    ('references_json', _record),
    ('v1_references_json', _squad),
    ('glue_scores', _averages),
  ):
    if key in arrays:
      return rows(arrays)
  raise ValueError(f'no known kind of metric file: arrays {sorted(arrays)}')


def _classification(a):
  constant = np.ones_like(a['bin_true'])
  sets = metrics.multilabel(a['ml_logits'] > 0, a['ml_true'])
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    correlations = {
      name: metrics.compute([name], a['sts_pred'], a['sts_true'])[name]
      for name in ('pearson', 'spearman')
    }
  binary = metrics.compute(
    ['matthews', 'accuracy', 'f1'], a['bin_pred'], a['bin_true']
  )
  cb = metrics.compute(['accuracy', 'macro_f1'], a['cb_pred'], a['cb_true'])
  ours = {
    'mcc': binary['matthews'],
    'bin_acc': binary['accuracy'],
    'bin_f1': binary['f1'],
    'allone_mcc': metrics.matthews(constant, a['bin_true']),
    'allone_f1': metrics.f1(constant, a['bin_true']),
    'allzero_f1': metrics.f1(0 * constant, a['bin_true']),
    'cb_acc': cb['accuracy'],
    'cb_f1': cb['macro_f1'],
    'cb_f1_noclass2': metrics.macro_f1(a['cb_pred_noclass2'], a['cb_true']),
    'axg_acc': metrics.accuracy(a['axg_pred'], a['axg_true']),
    'axg_gender_parity': metrics.gender_parity(a['axg_pred'], a['axg_pair']),
    'ml_exact_accuracy': sets['exact_accuracy'],
    'ml_class_f1': sets['class_f1'],
  }
  for average in ('macro', 'micro', 'samples'):
    ours[f'ml_{average}_prf'] = [
      sets[f'{average}_{part}'] for part in ('precision', 'recall', 'f1')
    ]
  rows = [(name, value, a[name], *TIGHT) for name, value in ours.items()]
  return rows + [(n, v, a[n], *LOOSE) for n, v in correlations.items()]


def _multirc(a):
  groups = list(zip(a['paragraph'].tolist(), a['question'].tolist()))
  scores = metrics.compute(
    ['f1', 'exact_match', 'f1_m'], a['pred'], a['true'], groups
  )
  macro = metrics.grouped_f1(a['pred'], a['true'], groups, 'macro')
  return [
    ('f1_a', scores['f1'], a['f1_a'], *TIGHT),
    ('exact_match', scores['exact_match'], a['exact_match'], *TIGHT),
    ('f1_m_positive', scores['f1_m'], a['f1_m_positive'], *TIGHT),
    ('f1_m_library', macro, a['f1_m_library'], *TIGHT),
  ]


def _record(a):
  answers = _answers(a['references_json'])
  scores = squad.record(answers, _json(a['predictions_json']))
  correct = sorted(int(key) for key in scores['correct_ids'])
  return [
    ('exact_match', scores['exact_match'], a['exact_match'], *TIGHT),
    ('f1', scores['f1'], a['f1'], *TIGHT),
    ('correct_ids', correct, np.sort(a['correct_ids']), *TIGHT),
  ]


def _squad(a):
  v1 = squad.squad_v1(
    _answers(a['v1_references_json']), _json(a['v1_predictions_json'])
  )
  rows = [
    ('v1_exact_match', v1['exact_match'], a['v1_exact_match'], *TIGHT),
    ('v1_f1', v1['f1'], a['v1_f1'], *TIGHT),
  ]
  answers = _answers(a['v2_references_json'])
  predictions = _json(a['v2_predictions_json'])
  no_answer = _json(a['v2_no_answer_prob_json'])
  for threshold, key in (
    (1.0, 'v2_eval_threshold_1_json'),
    (0.5, 'v2_eval_threshold_05_json'),
    (1.0, 'v2_best_json'),
  ):
    ours = squad.squad_v2(answers, predictions, no_answer, threshold)
    for name, value in _json(a[key]).items():
      rows.append((f'{key}/{name}', ours[name], value, *TIGHT))
  scores = squad.squad_v2_scores(answers, predictions)
  for part, ours in zip(('exact', 'f1'), scores):
    theirs = _json(a[f'v2_{part}_per_question_json'])
    rows.append(
      (
        f'v2_{part}_per_question',
        [ours[key] for key in theirs],
        list(theirs.values()),
        *TIGHT,
      )
    )
  return rows


# Board column -> (task, metric).
_GLUE = {
  'CoLA': ('cola', 'matthews'),
  'SST-2': ('sst2', 'accuracy'),
  'MRPC F1': ('mrpc', 'f1'),
  'MRPC acc': ('mrpc', 'accuracy'),
  'STS-B Pearson': ('stsb', 'pearson'),
  'STS-B Spearman': ('stsb', 'spearman'),
  'QQP F1': ('qqp', 'f1'),
  'QQP acc': ('qqp', 'accuracy'),
  'MNLI-m': ('mnli', 'matched_accuracy'),
  'MNLI-mm': ('mnli', 'mismatched_accuracy'),
  'QNLI': ('qnli', 'accuracy'),
  'RTE': ('rte', 'accuracy'),
  'WNLI': ('wnli', 'accuracy'),
}
_SUPERGLUE = {
  'BoolQ': ('boolq', 'accuracy'),
  'CB F1': ('cb', 'macro_f1'),
  'CB acc': ('cb', 'accuracy'),
  'COPA': ('copa', 'accuracy'),
  'MultiRC F1a': ('multirc', 'f1'),
  'MultiRC EM': ('multirc', 'exact_match'),
  'ReCoRD F1': ('record', 'f1'),
  'ReCoRD EM': ('record', 'exact_match'),
  'RTE': ('rte', 'accuracy'),
  'WiC': ('wic', 'accuracy'),
  'WSC': ('wsc', 'accuracy'),
}


def _averages(a):
  rows = []
  for board, columns, average in (
    ('glue', _GLUE, metrics.glue_average),
    ('superglue', _SUPERGLUE, metrics.superglue_average),
  ):
    ours = []
    for values in a[f'{board}_scores']:
      scores: dict = {}
      for column, value in zip(a[f'{board}_columns'].tolist(), values):
        if column in columns:
          task, metric = columns[column]
          scores.setdefault(task, {})[metric] = float(value)
      ours.append(average(scores).value)
    rows.append((f'{board}_shown', ours, a[f'{board}_shown'], *SHOWN))
  return rows


def _json(array):
  return json.loads(str(array))


def _answers(array):
  return {str(item['id']): item['answers'] for item in _json(array)}
