"""Gradients of a step's loss, over one batch or its micro-batches."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from glue_jax import tree


class Gradients(NamedTuple):
  """What the passes over a batch give.

  Attributes:
    of: {'loss': its gradient, and of each statistic the optimizer wants: that
      one's}; of means over the whole batch.
    metrics: {name: (sum, count)}.
    carry: {name: (B, ...)} for the batches of later phases.
  """

  of: dict[str, tree.Tree]
  metrics: dict[str, tuple[Any, Any]]
  carry: dict[str, Any]


def gradients(
  loss: Callable[..., tuple[jax.Array, dict, dict]],
  params: tree.Tree,
  batch: Mapping[str, jax.Array],
  rng: jax.Array,
  accumulate: int,
  statistics: Sequence[str],
  terms: Mapping[str, float],
) -> Gradients:
  """Returns the gradients with respect to `params`.

  Args:
    loss: (params, batch, rng) -> (mean loss, metrics, carry).
    params: the leaves that learn.
    batch: {name: (B, ...)}.
    rng: of the loss; each micro-batch folds its number in.
    accumulate: micro-batches.
    statistics: metrics whose gradient the optimizer wants, too.
    terms: see `method.Objective`.

  Raises:
    ValueError: the micro-batches don't divide the batch, a statistic isn't
      among the metrics, or a carry hasn't one row an example.
  """
  if accumulate == 1:
    return _of_one(loss, params, batch, rng, statistics)
  parts = jax.tree.map(lambda x: _micro_batches(x, accumulate), batch)
  if terms:
    loss = _joined(loss, terms, _counts(loss, params, parts, rng, terms))

  def micro(total, item):
    index, part = item
    found = _of_one(
      loss, params, part, jax.random.fold_in(rng, index), statistics
    )
    # A mean's gradient times its count is the gradient of the sum.
    sums = {
      name: _scaled(g, found.metrics[name][1]) for name, g in found.of.items()
    }
    return jax.tree.map(jnp.add, total, (sums, found.metrics)), found.carry

  first = jax.tree.map(lambda x: x[0], parts)
  shapes = jax.eval_shape(
    lambda b: _of_one(loss, params, b, rng, statistics), first
  )
  zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes[:2])
  (grads, metrics), carry = jax.lax.scan(
    micro, zeros, (jnp.arange(accumulate), parts)
  )
  counts = {name: metrics[name][1] for name in grads}
  counts = {name: jnp.where(n > 0, n, 1) for name, n in counts.items()}
  means = {
    name: jax.tree.map(lambda x, c=counts[name]: x / c, g)
    for name, g in grads.items()
  }
  rows = len(jax.tree.leaves(first)[0])
  return Gradients(
    means, metrics, {name: _whole(name, x, rows) for name, x in carry.items()}
  )


def mean(metrics: Mapping[str, tuple[Any, Any]], name: str) -> jax.Array:
  """Returns the mean of a metric; 0 where nothing was counted."""
  total, count = metrics[name]
  return total / jnp.where(count > 0, count, 1)


def _scaled(grads, factor):
  return jax.tree.map(lambda g: g * factor, grads)


def _of_one(loss, params, batch, rng, statistics) -> Gradients:
  """As `gradients`, of one batch; all of them from one pass forward."""

  def values(params):
    total, metrics, carry = loss(params, batch, rng)
    missing = [name for name in statistics if name not in metrics]
    if missing:
      raise ValueError(
        f'config.optimizer adds the gradient of {missing}, which no method '
        f'logs; the loss has {sorted(metrics)}. optimizer.density wants a '
        "method that measures it: methods=(..., ('deft', dict(weight=0.0)))"
      )
    means = {name: mean(metrics, name) for name in statistics}
    return {'loss': total} | means, (metrics, carry)

  if not statistics:

    def alone(params):
      losses, others = values(params)
      return losses['loss'], others

    grads, others = jax.grad(alone, has_aux=True)(params)
    return Gradients({'loss': grads}, *others)

  losses, pullback, others = jax.vjp(values, params, has_aux=True)
  zeros = jax.tree.map(jnp.zeros_like, losses)

  def gradient_of(name):
    return pullback(zeros | {name: jnp.ones_like(losses[name])})[0]

  return Gradients({name: gradient_of(name) for name in losses}, *others)


def _counts(loss, params, parts, rng, terms) -> dict[str, jax.Array]:
  """Counts of the whole batch that means are taken over.

  They don't depend on what the networks say, so the compiler leaves those out.
  """

  def count(index, part):
    _, metrics, _ = loss(params, part, jax.random.fold_in(rng, index))
    return {name: metrics[name][1] for name in {**terms, 'loss': 1.0}}

  indices = jnp.arange(len(jax.tree.leaves(parts)[0]))
  every = jax.lax.map(lambda item: count(*item), (indices, parts))
  return jax.tree.map(lambda x: jnp.maximum(x.sum(0), 1), every)


def _joined(loss, terms, counts):
  """The loss of a micro-batch, whose terms have the whole batch's counts."""

  def joined(params, part, rng):
    total, metrics, carry = loss(params, part, rng)
    # What comes out is going to be weighted by the count of the loss.
    back = counts['loss'] / jnp.maximum(metrics['loss'][1], 1)
    for name, weight in terms.items():
      own = metrics[name][0] / counts[name] * back
      total += weight * (own - mean(metrics, name))
    return total, metrics, carry

  return joined


def _micro_batches(x, parts):
  # Strided, so that every device holds rows of every micro-batch.
  rows = x.shape[0]
  if rows % parts:
    raise ValueError(
      f'config.train.accumulate={parts} does not divide the batch of {rows}'
    )
  return x.reshape(rows // parts, parts, *x.shape[1:]).swapaxes(0, 1)


def _whole(name, x, rows):
  """What micro-batches carry on, in the order of the batch's rows."""
  if x.shape[1:2] != (rows,):
    raise ValueError(
      f'a phase carries {name} of shape {x.shape[1:]} on from a micro-batch of '
      f'{rows} rows; expected one row an example'
    )
  return x.swapaxes(0, 1).reshape(rows * len(x), *x.shape[2:])
