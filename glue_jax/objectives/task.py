"""The supervised objective of a task: one loss for each kind of task.

Use it: to tune on labelled rows; it is the one where a config names none.
Costs: the forward and backward pass, nothing besides.
Not with: tasks without labels (`mlm`, `mlm_sso`), or label smoothing of
  several labels a row.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from glue_jax.config.ranges import Rate
from glue_jax.method import Context, Objective


def make(ctx: Context, *, label_smoothing: Rate = 0.0) -> Objective:
  """Returns the objective for `ctx.task.kind`.

  Args:
    ctx: see `Context`.
    label_smoothing: share of the target spread over all classes.

  Raises:
    ValueError: the kind has no supervised loss here.
  """
  kind = ctx.task.kind
  if kind not in LOSSES:
    raise ValueError(
      f'objective "task" has no loss for kind {kind!r}; it has {sorted(LOSSES)}'
    )

  def loss(apply, params, batch, rng):
    outputs = apply(params, batch, train=True, rng=rng)
    total, count, metrics = LOSSES[kind](outputs, batch, label_smoothing)
    metrics = dict(metrics, loss=(total, count))
    return total / jnp.maximum(count, 1), metrics

  def predict(apply, params, batch):
    outputs = apply(params, batch)
    keys = ('logits', 'start_logits', 'end_logits')
    return {key: outputs[key] for key in keys if key in outputs}

  return Objective(loss, predict)


def cross_entropy(
  logits: jax.Array, labels: jax.Array, smoothing: float = 0.0
) -> jax.Array:
  """Cross-entropy in float32.

  Args:
    logits: (..., C).
    labels: (...) int class ids.
    smoothing: see `make`.

  Returns:
    (...) losses.
  """
  logits = logits.astype(jnp.float32)
  if smoothing == 0:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
  targets = jax.nn.one_hot(labels, logits.shape[-1])
  targets = optax.smooth_labels(targets, smoothing)
  return optax.softmax_cross_entropy(logits, targets)


def _classification(outputs, batch, smoothing):
  logits, labels, weight = outputs['logits'], batch['labels'], batch['weight']
  # Padding rows may hold any label; clipped, their loss is finite and unused.
  labels = jnp.clip(labels, 0, logits.shape[-1] - 1)
  losses = cross_entropy(logits, labels, smoothing) * weight
  right = (jnp.argmax(logits, -1) == labels) * weight
  count = weight.sum()
  return losses.sum(), count, {'accuracy': (right.sum(), count)}


def _multilabel(outputs, batch, smoothing):
  if smoothing:
    raise ValueError(
      f'config.objective.label_smoothing={smoothing}: expected 0, as a '
      'multilabel task has no smoothed targets'
    )
  logits, weight = outputs['logits'].astype(jnp.float32), batch['weight']
  labels = batch['labels'].astype(jnp.float32)
  losses = optax.sigmoid_binary_cross_entropy(logits, labels).mean(-1) * weight
  count = weight.sum()
  right = ((logits > 0) == (labels > 0)).all(-1) * weight
  return losses.sum(), count, {'exact_accuracy': (right.sum(), count)}


def _regression(outputs, batch, smoothing):
  del smoothing
  error = outputs['logits'].astype(jnp.float32) - batch['labels']
  return (error**2 * batch['weight']).sum(), batch['weight'].sum(), {}


def _token(outputs, batch, smoothing):
  logits, labels = outputs['logits'], batch['labels']
  mask = (labels >= 0) * batch['weight'][:, None]
  labels = jnp.maximum(labels, 0)
  losses = cross_entropy(logits, labels, smoothing) * mask
  right = (jnp.argmax(logits, -1) == labels) * mask
  count = mask.sum()
  return losses.sum(), count, {'accuracy': (right.sum(), count)}


def _span(outputs, batch, smoothing):
  weight = batch['weight']
  losses = 0.0
  for end in ('start', 'end'):
    logits = outputs[f'{end}_logits']
    # An answer outside the window points at [CLS], position 0.
    labels = jnp.clip(batch[f'{end}_positions'], 0, logits.shape[-1] - 1)
    losses += cross_entropy(logits, labels, smoothing) / 2
  return (losses * weight).sum(), weight.sum(), {}


LOSSES: Mapping[str, Callable[..., Any]] = {
  'classification': _classification,
  'multilabel': _multilabel,
  'multiple_choice': _classification,
  'regression': _regression,
  'token_classification': _token,
  'span': _span,
}
