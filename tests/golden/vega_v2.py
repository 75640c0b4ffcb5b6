"""Golden vectors of Vega v2: self-evolution, prompt transfer.

Two kinds of files: the first's losses against the released code in float32, the
second's in float64. Tolerances are relative, as the files' README asks, beside
a last digit of the largest value.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.objectives import (
  distill,
  self_evolution,
  task,
  transferability,
)
from tests.golden import _kinds

RELATIVE = 1e-5
SMALLEST = 1e-6  # of an array's largest value
SPECIAL = (0, 2)  # ids of the first and last token of a row

Rows = list[tuple[str, Any, Any, float, float]]


def compare(arrays: dict[str, np.ndarray], folder: Path) -> Rows:
  """Rows (name, ours, theirs, atol, rtol) for one file's arrays."""
  del folder  # all is in the arrays
  kinds = {
    'input/self_question_logits': _self_evolution,
    'input/teacher_logits': _prompt_transfer,
  }
  return _kinds.by_kind(arrays, kinds, lambda name: name.startswith('output/'))


def _rows(found: dict[str, Any], a: dict[str, np.ndarray]) -> Rows:
  return [
    (f'output/{name}', ours, a[f'output/{name}'],
     SMALLEST * np.abs(a[f'output/{name}']).max(initial=0), RELATIVE)
    for name, ours in found.items()
  ]  # fmt: skip


def _self_evolution(a: dict[str, np.ndarray]) -> Rows:
  ids, mask = a['input/input_ids'], a['input/attention_mask']
  logits, threshold = a['input/self_question_logits'], a['input/threshold']
  words = mask * ~np.isin(ids, SPECIAL)
  reference, targets = a['input/reference_logits'], a['input/target']
  # Where nothing is to be predicted padding stands.
  chosen = jnp.asarray(targets != _pad(a))

  def total(logits, reference, smoothing):
    losses = self_evolution.smoothed(logits, reference, targets, smoothing)
    return (losses * chosen).sum()

  student, share = jnp.asarray(a['input/student_logits']), a['input/lambda']
  loss, gradient = jax.value_and_grad(total)(student, reference, share)
  found = {
    'self_question_loss': self_evolution.questioned(logits, ids, mask),
    'hard_mask_official': self_evolution.unsure(logits, ids, mask, threshold),
    'hard_mask_excluding_special': self_evolution.unsure(
      logits, ids, words, threshold
    ),
    'se_loss_sum': loss,
    'se_loss_grad_student_logits': gradient,
    'nll_sum': total(student, reference, 0.0),
    'vanilla_label_smoothing_sum': total(student, 0 * reference, share),
    'num_targets': chosen.sum(),
  }
  return _rows(found, a)


def _pad(a: dict[str, np.ndarray]) -> int:
  """The id of padding, which is 1 in files whose rows have none."""
  padded = a['input/input_ids'][a['input/attention_mask'] == 0]
  return int(padded[0]) if len(padded) else 1


def _prompt_transfer(a: dict[str, np.ndarray]) -> Rows:
  teacher, labels = a['input/teacher_logits'], a['input/labels']
  student = jnp.asarray(a['input/student_logits'])

  def plain(logits):
    return task.cross_entropy(logits, labels).mean()

  def mean(logits):
    return distill.mean_square(logits, teacher).mean()

  found = {
    'ce': plain(student),
    'kd_mse_over_batch': distill.pulled(0, mean(student), 10, len(labels)),
    'transferability_cosine': transferability.cosine(
      *(
        a[f'input/{side}_task_features'].mean(0)
        for side in ('source', 'target')
      )
    ),
  }
  for name in [n for n in a if n.startswith('output/total_beta')]:
    beta = name.removeprefix('output/total_beta')

    def whole(logits, beta=float(beta)):
      return distill.pulled(plain(logits), mean(logits), beta, len(labels))

    total, gradient = jax.value_and_grad(whole)(student)
    found[f'total_beta{beta}'] = total
    found[f'grad_student_logits_beta{beta}'] = gradient
  return _rows(found, a)
