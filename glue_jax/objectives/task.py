"""The supervised objective of a task: one loss for each kind of task.

Use it: to tune on labelled rows; it is the one where a config names none.
Costs: the forward and backward pass, nothing besides.
Not with: tasks without labels (`mlm`, `mlm_sso`), or label smoothing of
  several labels a row or of numbers.

Labels that are rare get a weight, as in

  --config.objective.class_weights=balanced
  --config.objective.class_weights="{'entailment': 3.0}"

and the loss is the weighted mean over the rows (tokens) of a batch, divided by
the sum of their weights, as PyTorch's; accumulated micro-batches give that of
the one big batch. Terms that a method adds to the loss keep their own mean.
Of several labels a row the weight is that of a label that is given, beside 1
for one that isn't (PyTorch's `pos_weight`). `run.json` has the numbers. Losses
of evaluations have no weights.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax

from glue_jax import tree
from glue_jax.config.ranges import OpenShare, Range, Rate
from glue_jax.method import Context, Facts, Objective
from glue_jax.models import model as models
from glue_jax.objectives import class_weights as weighting
from glue_jax.plugs import Apply

# Kinds whose labels are classes; the choices of multiple choice are places.
_CLASSES = ('classification', 'multilabel', 'token_classification')


@dataclasses.dataclass(frozen=True)
class Terms:
  """How the loss of a row is weighted.

  Attributes:
    smoothing, gamma: see `make`.
    weights: (C,) of the labels; None = all alike.
    absent: weight of a label that isn't given (multilabel).
    by_weight: the mean is over the weights, else over the rows.
  """

  smoothing: float = 0.0
  gamma: float = 0.0
  weights: jax.Array | None = None
  absent: float = 1.0
  by_weight: bool = True


# Beyond it a row with even odds counts for less than a millionth.
Gamma = Annotated[float, Range(ge=0, le=20)]
FACTS = Facts(
  small=dict(label_smoothing=0.1),
  arms={'weighted': dict(class_weights='balanced', focal_gamma=1.0)},
)


def make(
  ctx: Context,
  *,
  label_smoothing: Rate = 0.0,
  class_weights: weighting.Weights | None = None,
  focal_gamma: Gamma = 0.0,
  focal_alpha: OpenShare | None = None,
) -> Objective:
  """Returns the objective for `ctx.task.kind`.

  Args:
    ctx: see `Context`.
    label_smoothing: share of the target spread over all classes. The weight
      and the focal factor of a row stay those of its label.
    class_weights: {label name: weight}, 1 for those not named; or 'balanced',
      from the training rows, see objectives/class_weights.py.
    focal_gamma: the loss of a row is times (1 - p)^gamma, p the probability of
      its label (Lin et al. 2017, arXiv 1708.02002; published: 2); 0 is
      cross-entropy.
    focal_alpha: weight of the second of two labels beside 1 - alpha of the
      first, of several labels a row that of a given one (published: 0.25 with
      gamma 2). As there, it doesn't enter what the mean is taken over.

  Raises:
    ValueError: the kind has no supervised loss here, or not this form of it; a
      name that no label has.
  """
  kind = ctx.task.form
  if kind not in LOSSES:
    raise ValueError(
      f'objective "task" has no loss for kind {kind!r}; it has '
      f"{sorted(LOSSES)} (texts: objective.name='generation')"
    )
  if ctx.model.kind != models.head_kind(ctx.model.family, kind):
    raise ValueError(
      f'objective "task" needs the head of {kind}, not model.head='
      f'{ctx.model.kind!r}; leave model.head out, or name an objective that '
      'reads no logits of the task'
    )
  _check(ctx.task, label_smoothing, class_weights, focal_gamma, focal_alpha)
  terms = Terms(label_smoothing, focal_gamma)
  facts: dict[str, Any] = {}
  unknown = class_weights == 'balanced' and ctx.label_counts is None
  if class_weights is not None and not unknown:
    if class_weights == 'balanced':
      values = weighting.balanced(ctx.label_counts(), kind)
    else:
      values = weighting.given(class_weights, ctx.task.labels)
    facts['class_weights'] = dict(zip(ctx.task.labels, values.tolist()))
    terms = dataclasses.replace(terms, weights=jnp.asarray(values, jnp.float32))
  if focal_alpha is not None:
    pair = jnp.array([1 - focal_alpha, focal_alpha], jnp.float32)
    terms = dataclasses.replace(terms, weights=pair, by_weight=False)
    if kind == 'multilabel':
      every = jnp.full(len(ctx.task.labels), focal_alpha, jnp.float32)
      terms = dataclasses.replace(terms, weights=every, absent=1 - focal_alpha)

  def loss(apply, params, batch, rng):
    if unknown:
      raise ValueError(
        "config.objective.class_weights='balanced' needs the training rows, "
        'and none were read; give data.train_split, or the weights by name'
      )
    outputs = apply(params, batch, train=True, rng=rng)
    total, count, metrics = LOSSES[kind](outputs, batch, terms)
    metrics = dict(metrics, loss=(total, count))
    return total / jnp.where(count > 0, count, 1), metrics

  return Objective(loss, predict, facts)


def _check(task, smoothing, class_weights, gamma, alpha) -> None:
  """Refuses what a kind of task has no form of."""
  kind = task.kind
  found = {
    f'label_smoothing={smoothing}': smoothing
    and kind in ('multilabel', 'regression'),
    f'class_weights={class_weights!r}': class_weights is not None
    and kind not in _CLASSES,
    f'focal_gamma={gamma}': gamma
    and kind not in (*_CLASSES, 'multiple_choice'),
    f'focal_alpha={alpha}': alpha is not None and kind not in _CLASSES,
  }
  for name, refused in found.items():
    if refused:
      raise ValueError(
        f'config.objective.{name}: a {kind} task has no such loss; leave it out'
      )
  if alpha is None:
    return
  if class_weights is not None:
    raise ValueError(
      f'config.objective.focal_alpha={alpha} and class_weights both weigh the '
      'labels; give one of them'
    )
  if kind != 'multilabel' and len(task.labels) != 2:
    raise ValueError(
      f'config.objective.focal_alpha={alpha} is for two labels, the task has '
      f'{len(task.labels)}; give class_weights'
    )


def predict(
  apply: Apply, params: tree.Tree, batch: Mapping
) -> dict[str, jax.Array]:
  """Returns the logits that a head gives, see `Objective.predict`."""
  outputs = apply(params, batch)
  keys = ('logits', 'start_logits', 'end_logits')
  return {key: outputs[key] for key in keys if key in outputs}


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


def _weighed(logits, labels, kept, terms):
  """Sums of the losses of classes, and of what their mean is taken over.

  Args:
    logits: (..., C).
    labels: (...) class ids.
    kept: (...) 1 where the loss counts, else 0.
    terms: how.
  """
  losses = cross_entropy(logits, labels, terms.smoothing)
  if terms.gamma:
    losses *= weighting.focal_of_classes(logits, labels, terms.gamma)
  if terms.weights is None:
    return (losses * kept).sum(), kept.sum()
  weights = terms.weights[labels] * kept
  count = weights if terms.by_weight else kept
  return (losses * weights).sum(), count.sum()


def _classification(outputs, batch, terms):
  logits, labels, weight = outputs['logits'], batch['labels'], batch['weight']
  # Padding rows may hold any label; clipped, their loss is finite and unused.
  labels = jnp.clip(labels, 0, logits.shape[-1] - 1)
  total, count = _weighed(logits, labels, weight, terms)
  right = (jnp.argmax(logits, -1) == labels) * weight
  return total, count, {'accuracy': (right.sum(), weight.sum())}


def _multilabel(outputs, batch, terms):
  logits, weight = outputs['logits'].astype(jnp.float32), batch['weight']
  labels = batch['labels'].astype(jnp.float32)
  losses = optax.sigmoid_binary_cross_entropy(logits, labels)
  if terms.gamma:
    losses *= weighting.focal_of_sets(logits, labels, terms.gamma)
  if terms.weights is not None:
    losses *= jnp.where(labels > 0, terms.weights, terms.absent)
  losses = losses.mean(-1) * weight
  count = weight.sum()
  right = ((logits > 0) == (labels > 0)).all(-1) * weight
  return losses.sum(), count, {'exact_accuracy': (right.sum(), count)}


def _regression(outputs, batch, terms):
  del terms  # it has none, see `_check`
  error = outputs['logits'].astype(jnp.float32) - batch['labels']
  return (error**2 * batch['weight']).sum(), batch['weight'].sum(), {}


def _token(outputs, batch, terms):
  logits, labels = outputs['logits'], batch['labels']
  mask = (labels >= 0) * batch['weight'][:, None]
  labels = jnp.maximum(labels, 0)
  total, count = _weighed(logits, labels, mask, terms)
  right = (jnp.argmax(logits, -1) == labels) * mask
  return total, count, {'accuracy': (right.sum(), mask.sum())}


def _span(outputs, batch, terms):
  weight = batch['weight']
  losses = 0.0
  for end in ('start', 'end'):
    logits = outputs[f'{end}_logits']
    # An answer outside the window points at [CLS], position 0.
    labels = jnp.clip(batch[f'{end}_positions'], 0, logits.shape[-1] - 1)
    losses += cross_entropy(logits, labels, terms.smoothing) / 2
  return (losses * weight).sum(), weight.sum(), {}


LOSSES: Mapping[str, Callable[..., Any]] = {
  'classification': _classification,
  'multilabel': _multilabel,
  'multiple_choice': _classification,
  'regression': _regression,
  'token_classification': _token,
  'span': _span,
}
