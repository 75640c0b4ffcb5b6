"""The training step: one pure function of (state, batch, key), compiled once
for each variant.
"""

import collections
import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from glue_jax import tree
from glue_jax.devices import cpu
from glue_jax.method import Method, Objective
from glue_jax.optim import density
from glue_jax.plugs import Apply
from glue_jax.training.state import TrainState

# Names of the uses of a step's key, so that adding one never shifts another.
USES = {'prepare': 0, 'reparam': 1, 'loss': 2}


def make_step(
  apply: Apply,
  objective: Objective,
  method: Method,
  tx: optax.GradientTransformation,
  *,
  accumulate: int = 1,
  nonfinite: str = 'stop',
) -> Callable[..., tuple[TrainState, dict]]:
  """Returns the pure step `(state, frozen, batch, key) -> (state, metrics)`.

  Args:
    apply: the model with all plugs and the variant of this program.
    objective: what is minimised.
    method: the composed method.
    tx: optimizer for the leaves that learn.
    accumulate: micro-batches a step; the gradient is that of the whole batch
      (weighted by the count of each micro-batch's loss).
    nonfinite: 'skip' keeps the old state when loss, gradient or update isn't
      finite.

  The state is passed without its frozen trees, so that it can be donated while
  they stay where they are. Metrics are {name: (sum, count)} plus 'grad_norm'
  and 'finite', both () arrays.
  """
  wrapped = objective.loss
  if method.wrap_loss:
    wrapped = method.wrap_loss(wrapped)

  def step(state, frozen, batch, key):
    rng = jax.random.fold_in(key, state.step)
    rngs = {use: jax.random.fold_in(rng, i) for use, i in USES.items()}
    bound = apply.replace(frozen=frozen, extra=state.extra, step=state.step)
    if method.prepare:
      params = tree.merge(state.params, frozen['params'])
      batch = method.prepare(bound, params, batch, rngs['prepare'])
      batch = jax.lax.stop_gradient(batch)

    def loss(params, batch, rng):
      params = tree.merge(params, frozen['params'])
      if method.reparam:
        params = method.reparam(params, state.step, rngs['reparam'])
      return wrapped(bound, params, batch, rng)

    statistics = density.wanted(state.opt_state)
    grads, metrics = _gradients(
      loss, state.params, batch, rngs['loss'], accumulate, statistics
    )
    new, updates = _update(method, tx, state, frozen, grads, metrics)
    norm = optax.tree.norm(grads['loss'])
    # An optimizer may fail by itself: a decomposition that doesn't converge.
    finite = jnp.isfinite(norm + metrics['loss'][0] + optax.tree.sum(updates))
    if nonfinite == 'skip':
      new = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, state)
    new = new.replace(step=state.step + 1)
    return new, metrics | {'grad_norm': norm, 'finite': finite}

  return step


def _update(method, tx, state, frozen, grads, metrics):
  grads = dict(grads)
  main, more = grads.pop('loss'), {}
  if grads:
    more['statistics'] = {name: _mean(metrics, name) for name in grads}
    more['pullback'] = functools.partial(_weighted_sum, grads)
  updates, opt_state = tx.update(main, state.opt_state, state.params, **more)
  params = optax.apply_updates(state.params, updates)
  extra = state.extra
  if method.update_extra:
    whole = tree.merge(params, frozen['params'])
    extra = method.update_extra(extra, whole, metrics)
  new = state.replace(params=params, opt_state=opt_state, extra=extra)
  return new, updates


def _weighted_sum(grads, weights):
  parts = [optax.tree.scale(weights[name], g) for name, g in grads.items()]
  return jax.tree.map(lambda *leaves: sum(leaves), *parts)


def _mean(metrics, name):
  total, count = metrics[name]
  return total / jnp.where(count > 0, count, 1)


def _gradients(loss, params, batch, rng, accumulate, statistics):
  """Gradients of means over the whole batch.

  Returns:
    {'loss': of the loss, and each statistic's}, and the metrics. Statistics
    are metrics whose gradient the optimizer wants.
  """
  if accumulate == 1:
    return _of_one(loss, params, batch, rng, statistics)

  def micro(total, item):
    index, part = item
    grads, metrics = _of_one(
      loss, params, part, jax.random.fold_in(rng, index), statistics
    )
    # A mean's gradient times its count is the gradient of the sum.
    sums = {name: _scaled(g, metrics[name][1]) for name, g in grads.items()}
    return jax.tree.map(jnp.add, total, (sums, metrics)), None

  parts = jax.tree.map(lambda x: _micro_batches(x, accumulate), batch)
  first = jax.tree.map(lambda x: x[0], parts)
  shapes = jax.eval_shape(
    lambda b: _of_one(loss, params, b, rng, statistics), first
  )
  zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
  (grads, metrics), _ = jax.lax.scan(
    micro, zeros, (jnp.arange(accumulate), parts)
  )
  counts = {name: metrics[name][1] for name in grads}
  counts = {name: jnp.where(n > 0, n, 1) for name, n in counts.items()}
  means = {
    name: jax.tree.map(lambda x, c=counts[name]: x / c, g)
    for name, g in grads.items()
  }
  return means, metrics


def _scaled(grads, factor):
  return jax.tree.map(lambda g: g * factor, grads)


def _of_one(loss, params, batch, rng, statistics):
  """As `_gradients`, of one batch; all of them from one pass forward."""
  if not statistics:
    grads, metrics = jax.grad(loss, has_aux=True)(params, batch, rng)
    return {'loss': grads}, metrics

  def values(params):
    total, metrics = loss(params, batch, rng)
    missing = [name for name in statistics if name not in metrics]
    if missing:
      raise ValueError(
        f'config.optimizer adds the gradient of {missing}, which no method '
        f'logs; the loss has {sorted(metrics)}. optimizer.density wants a '
        "method that measures it: methods=(..., ('deft', dict(weight=0.0)))"
      )
    means = {name: _mean(metrics, name) for name in statistics}
    return {'loss': total} | means, metrics

  losses, pullback, metrics = jax.vjp(values, params, has_aux=True)
  zeros = jax.tree.map(jnp.zeros_like, losses)

  def gradient_of(name):
    return pullback(zeros | {name: jnp.ones_like(losses[name])})[0]

  return {name: gradient_of(name) for name in losses}, metrics


def _micro_batches(x, parts):
  # Strided, so that every device holds rows of every micro-batch.
  rows = x.shape[0]
  if rows % parts:
    raise ValueError(
      f'config.train.accumulate={parts} does not divide the batch of {rows}'
    )
  return x.reshape(rows // parts, parts, *x.shape[1:]).swapaxes(0, 1)


class Programs:
  """Compiled steps, one for each variant, in a bounded cache.

  Attributes:
    traces: how many programs were traced (one for each variant and shape).
    seconds: spent on tracing and compiling them.
  """

  def __init__(self, build: Callable[[Mapping], Callable], limit: int = 8):
    """Makes the cache.

    Args:
      build: variant -> pure step function.
      limit: how many variants' programs are kept.
    """
    self._build = build
    self._limit = limit
    self._cache: collections.OrderedDict[Any, Any] = collections.OrderedDict()
    self.traces = 0
    self.seconds = 0.0

  def __call__(
    self,
    variant: Mapping[str, Any],
    state: TrainState,
    batch: Mapping[str, jax.Array],
    key: jax.Array,
  ) -> tuple[TrainState, dict[str, Any]]:
    """Runs one step; the old state's buffers are used up."""
    lean = state.replace(frozen={})
    program = self._program(variant, lean)
    before, start = self.traces, time.perf_counter()
    lean, metrics = program(lean, state.frozen, batch, key)
    if self.traces > before:
      # A call that compiles returns as soon as it has; the step runs on.
      self.seconds += time.perf_counter() - start
    return lean.replace(frozen=state.frozen), metrics

  def traced(
    self,
    variant: Mapping[str, Any],
    state: TrainState,
    batch: Mapping[str, jax.Array],
    key: jax.Array,
  ) -> jax.stages.Traced:
    """Returns the program of a step; nothing is compiled or run."""
    lean = state.replace(frozen={})
    return self._program(variant, lean).trace(lean, state.frozen, batch, key)

  def _program(self, variant, state):
    key = (tuple(sorted(variant.items())), jax.tree.structure(state))
    if key not in self._cache:
      fn = self._build(variant)

      def counted(*args):
        self.traces += 1
        return fn(*args)

      shardings = jax.tree.map(lambda x: x.sharding, state)
      self._cache[key] = jax.jit(
        counted,
        donate_argnums=0,
        out_shardings=(shardings, None),
        compiler_options=cpu.compiler_options(),
      )
      if len(self._cache) > self._limit:
        self._cache.popitem(last=False)
    self._cache.move_to_end(key)
    return self._cache[key]
