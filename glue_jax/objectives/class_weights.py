"""Weights of labels against an imbalance, and the focal factor.

A weight says how much a row counts by its label; the focal factor (Lin et al.
2017, arXiv 1708.02002, equation 5) lowers what is right already.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.config.ranges import NonNegative
from glue_jax.data.label_counts import LabelCounts

Weights = Literal['balanced'] | Mapping[str, NonNegative]


def balanced(found: LabelCounts, kind: str) -> np.ndarray:
  """Weights (C,) by which every label counts as much as another.

  n / (k * count), as `class_weight='balanced'` of scikit-learn, k being how
  many labels occur; of several labels a row (n - count) / count, the weight of
  a given label beside 1 for one that isn't. A label that never occurs has 1,
  which no training row reads.

  Args:
    found: labels of the training rows.
    kind: of the task.
  """
  counts = np.asarray(found.counts, np.float64)
  there = counts > 0
  safe = np.where(there, counts, 1)
  if kind == 'multilabel':
    weights = (found.total - counts) / safe
    # A label that every row has would count for nothing.
    weights = np.where(weights > 0, weights, 1 / safe)
  else:
    weights = found.total / (there.sum() * safe)
  return np.where(there, weights, 1.0)


def given(weights: Mapping[str, float], labels: Sequence[str]) -> np.ndarray:
  """Weights (C,) in the order of the labels; what isn't named has 1.

  Raises:
    ValueError: a name that no label has, or nothing but zeros.
  """
  unknown = [name for name in weights if name not in labels]
  if unknown:
    raise ValueError(
      f'config.objective.class_weights: no label {unknown}; the task has '
      f'{list(labels)}'
    )
  values = np.array([weights.get(name, 1.0) for name in labels])
  if not values.any():
    raise ValueError(
      'config.objective.class_weights: all are 0, so nothing would be learnt; '
      'give at least one label a weight above 0'
    )
  return values


def focal_of_classes(
  logits: jax.Array, labels: jax.Array, gamma: float
) -> jax.Array:
  """(1 - p_label)^gamma of a softmax.

  Computed as exp(gamma log(1 - p)), from the other classes' logits: its
  gradient is finite where p rounds to 1.

  Args:
    logits: (..., C), C of 2 or more.
    labels: (...) int class ids.
    gamma: above 0.

  Returns:
    (...) float32.
  """
  logits = logits.astype(jnp.float32)
  own = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
  others = jax.nn.logsumexp(jnp.where(own, -jnp.inf, logits), axis=-1)
  return jnp.exp(gamma * (others - jax.nn.logsumexp(logits, axis=-1)))


def focal_of_sets(
  logits: jax.Array, labels: jax.Array, gamma: float
) -> jax.Array:
  """(1 - p)^gamma of a sigmoid for each label, p that of what is true.

  Args:
    logits, labels: (..., C); labels 0 or 1.
    gamma: above 0.

  Returns:
    (..., C) float32.
  """
  signed = jnp.where(labels > 0, logits, -logits).astype(jnp.float32)
  return jnp.exp(gamma * jax.nn.log_sigmoid(-signed))
