"""The training step: one pure function of (state, batch, key), compiled once
for each variant.
"""

import collections
import functools
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from glue_jax import tree
from glue_jax.devices import cpu
from glue_jax.method import Method, Objective
from glue_jax.optim import density
from glue_jax.plugs import Apply
from glue_jax.training import phases
from glue_jax.training.gradients import gradients, mean
from glue_jax.training.state import TrainState

# Names of the uses of a step's key, so that adding one never shifts another.
USES = {'prepare': 0, 'reparam': 1, 'loss': 2, 'collect': 3}
INSIDE = ('prepare', 'reparam', 'loss')  # of the step's program


class Update(NamedTuple):
  """What one update gives.

  Attributes:
    params, opt_state: of the leaves that it moves.
    metrics, carry: see `gradients.Gradients`.
    norm: of the gradient, ().
    finite: whether loss, gradient and update are, ().
  """

  params: tree.Tree
  opt_state: Any
  metrics: dict[str, tuple[Any, Any]]
  carry: dict[str, Any]
  norm: jax.Array
  finite: jax.Array


def make_step(
  apply: Apply,
  objective: Objective,
  method: Method,
  tx: Any,
  *,
  accumulate: int = 1,
  nonfinite: str = 'stop',
) -> Callable[..., tuple[TrainState, dict]]:
  """Returns the pure step `(state, frozen, batch, key) -> (state, metrics)`.

  Args:
    apply: the model with all plugs and the variant of this program.
    objective: what is minimised, in one update or in phases.
    method: the composed method.
    tx: optimizer for the leaves that learn; `phases.Optimizers` for phases.
    accumulate: micro-batches an update; the gradient is that of the whole batch
      (weighted by the count of each micro-batch's loss).
    nonfinite: 'skip' keeps the old state when loss, gradient or update isn't
      finite.

  The state is passed without its frozen trees, so that it can be donated while
  they stay where they are. Metrics are {name: (sum, count)} plus 'grad_norm'
  and 'finite', both () arrays. Those of several phases are called
  `<phase>/<name>`, 'loss' is then the sum of their means, and 'grad_norm' the
  largest of all updates.
  """
  wrapped = objective.loss
  if method.wrap_loss:
    wrapped = method.wrap_loss(wrapped)
  # Of the one loss; a phase's is the mean of its own metric.
  terms = {} if objective.phases else objective.terms

  def step(state, frozen, batch, key):
    rng = jax.random.fold_in(key, state.step)
    rngs = {use: jax.random.fold_in(rng, USES[use]) for use in INSIDE}
    bound = apply.replace(frozen=frozen, extra=state.extra, step=state.step)
    if method.prepare:
      params = tree.merge(state.params, frozen['params'])
      batch = method.prepare(bound, params, batch, rngs['prepare'])
      batch = jax.lax.stop_gradient(batch)

    def update(loss, tx, params, held, opt_state, batch, rng) -> Update:
      """One update of `params`; `held` are the leaves of other phases."""

      def of(params, batch, rng):
        params = tree.merge(params, held, frozen['params'])
        if method.reparam:
          params = method.reparam(params, state.step, rngs['reparam'])
        total, metrics, *carry = loss(bound, params, batch, rng)
        return total, metrics, carry[0] if carry else {}

      statistics = density.wanted(opt_state)
      found = gradients(of, params, batch, rng, accumulate, statistics, terms)
      new, opt_state, updates = _apply(tx, params, opt_state, found)
      norm = optax.tree.norm(found.of['loss'])
      # An optimizer may fail by itself: a decomposition that doesn't converge.
      total = norm + found.metrics['loss'][0] + optax.tree.sum(updates)
      return Update(
        new, opt_state, found.metrics, found.carry, norm, jnp.isfinite(total)
      )

    if objective.phases:
      done = _in_turn(update, tx, objective.phases, state, batch, rngs['loss'])
    else:
      done = update(
        wrapped, tx, state.params, {}, state.opt_state, batch, rngs['loss']
      )
    extra = state.extra
    if method.update_extra:
      whole = tree.merge(done.params, frozen['params'])
      extra = method.update_extra(extra, whole, done.metrics)
    new = state.replace(
      params=done.params, opt_state=done.opt_state, extra=extra
    )
    if nonfinite == 'skip':
      new = jax.tree.map(lambda a, b: jnp.where(done.finite, a, b), new, state)
    new = new.replace(step=state.step + 1)
    metrics = done.metrics | {'grad_norm': done.norm, 'finite': done.finite}
    return new, metrics

  return step


def _apply(tx, params, opt_state, found):
  """Returns new parameters, the optimizer's state, and what was added."""
  grads = dict(found.of)
  main, more = grads.pop('loss'), {}
  if grads:
    more['statistics'] = {name: mean(found.metrics, name) for name in grads}
    more['pullback'] = functools.partial(_weighted_sum, grads)
  updates, opt_state = tx.update(main, opt_state, params, **more)
  return optax.apply_updates(params, updates), opt_state, updates


def _weighted_sum(grads, weights):
  parts = [optax.tree.scale(weights[name], g) for name, g in grads.items()]
  return jax.tree.map(lambda *leaves: sum(leaves), *parts)


def _in_turn(update, tx, by_name, state, batch, rng) -> Update:
  """The updates of all phases, as one."""
  params, opt_state, done = state.params, {}, {}
  for i, (name, phase) in enumerate(by_name.items()):
    learning, held = phases.moved(phase, params)
    done[name] = one = _repeated(
      functools.partial(update, phase.loss, tx.by_phase[name]),
      phase.repeat,
      (learning, held, state.opt_state[name], batch),
      jax.random.fold_in(rng, i),
    )
    params = tree.merge(one.params, held)
    opt_state[name] = one.opt_state
    batch = {**batch, **jax.lax.stop_gradient(one.carry)}
  metrics = _named(done) if len(done) > 1 else one.metrics
  norms = jnp.stack([one.norm for one in done.values()])
  finite = jnp.stack([one.finite for one in done.values()])
  return Update(params, opt_state, metrics, {}, norms.max(), finite.all())


def _repeated(update, repeat, given, rng) -> Update:
  """Updates in a row as one: sums of their metrics, the last one's carry."""
  params, held, opt_state, batch = given
  if repeat == 1:
    return update(params, held, opt_state, batch, rng)

  def again(moved, index):
    one = update(
      moved[0], held, moved[1], batch, jax.random.fold_in(rng, index)
    )
    return one[:2], one[2:]

  (params, opt_state), (metrics, carry, norm, finite) = jax.lax.scan(
    again, (params, opt_state), jnp.arange(repeat)
  )
  metrics = jax.tree.map(lambda x: x.sum(0), metrics)
  carry = jax.tree.map(lambda x: x[-1], carry)
  return Update(params, opt_state, metrics, carry, norm.max(), finite.all())


def _named(done: dict[str, Update]) -> dict[str, tuple[Any, Any]]:
  """The metrics of several phases under their names, and their loss."""
  named = {
    f'{phase}/{name}': value
    for phase, one in done.items()
    for name, value in one.metrics.items()
  }
  total = sum(mean(one.metrics, 'loss') for one in done.values())
  return named | {'loss': (total, jnp.ones(()))}


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
