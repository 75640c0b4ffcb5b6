"""GaLore. Zhao et al. 2024, arXiv 2403.03507; code jiaweizzhao/GaLore.

Training of all parameters whose Adam sees gradients projected to a low rank, so
that its moments are small. The projections are found again from the gradient
every `update_proj_gap` steps; moments are kept as they are although the basis
changed. Maths: optim/projection.py. optax.contrib's `scale_by_galore` projects
the larger dimension, that is projection='reverse_std'.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from glue_jax import tree
from glue_jax.config.ranges import (
  Count,
  Dtype,
  Filled,
  Positive,
  Rate,
  check_arguments,
  checked,
)
from glue_jax.optim import adam as moments
from glue_jax.optim import projection as projections
from glue_jax.optim.projection import Projection, Solver

# A pattern, or (pattern, {'rank', 'update_proj_gap', 'scale', 'projection'}).
Target = str | tuple[str, Mapping[str, Any]]
Targets = Annotated[Sequence[Target], Filled()]

# Linear layers of all blocks; biases, norms, embeddings and heads are Adam's.
BLOCKS = (r'(.*/)?layer_\d+/.*kernel',)


class GaLoreState(NamedTuple):
  """State of `scale_by_galore`.

  Attributes:
    count: finished steps, () int32, shared by all leaves.
    left: {name: U (..., m, r)} as nested dicts, of leaves projected on rows.
    right: likewise V^T (..., r, n).
    inner: of the optimizer of the projected tree.
  """

  count: jax.Array
  left: tree.Tree
  right: tree.Tree
  inner: Any


class Plan(NamedTuple):
  """How one leaf is projected; see `scale_by_galore`."""

  rank: Count
  update_proj_gap: Count
  scale: Positive
  projection: Projection


@checked
def scale_by_galore(
  inner: optax.GradientTransformation | None = None,
  *,
  rank: Count = 128,
  update_proj_gap: Count = 200,
  scale: Positive = 0.25,
  projection: Projection = 'std',
  solver: Solver = 'svd',
  targets: Targets = BLOCKS,
) -> optax.GradientTransformation:
  """Returns gradient -> scale * back(inner(project(gradient))).

  The tree is one of nested dicts. On a mesh of several devices the gradients of
  equal shape are decomposed together, each device doing its share; on one,
  each gradient is by itself, so that it can be freed once it is projected.

  Args:
    inner: sees the tree with the projected leaves in place of the targets; may
      not need parameters. Default `moments.scale_by_adam()`.
    rank: r, at most the smaller dimension.
    update_proj_gap: T, steps from one refresh of the projection to the next;
      the first is at the first step.
    scale: factor of the targets' updates.
    projection: see `projections.Projection`.
    solver: a key of `projections.SOLVERS`.
    targets: which leaves are projected, each a matrix or a stack of them; the
      first pattern that matches a name holds, other leaves go to `inner` as
      they are.

  Raises:
    ValueError: an argument that isn't what its annotation says; when it is
      initialised, a target without a matrix or of fewer dimensions than its
      rank, or not one target.
  """
  plan_of = planner(targets, Plan(rank, update_proj_gap, scale, projection))
  inner = moments.scale_by_adam() if inner is None else inner

  def init(params):
    flat = tree.flatten(params)
    plans = _checked_plans(flat, plan_of, targets)
    left, right, low = {}, {}, dict(flat)
    for name, plan in plans.items():
      leaf = flat[name]
      *kept, shape = projections.shapes(plan.projection, plan.rank, leaf.shape)
      for side, kept_shape in zip((left, right), kept, strict=True):
        if kept_shape:
          side[name] = jnp.zeros(kept_shape, leaf.dtype)
      low[name] = jnp.zeros(shape, leaf.dtype)
    return GaLoreState(
      count=jnp.zeros((), jnp.int32),
      left=tree.unflatten(left),
      right=tree.unflatten(right),
      inner=inner.init(tree.unflatten(low)),
    )

  def update(updates, state, params=None):
    del params
    flat = tree.flatten(updates)
    plans = {n: plan for n in flat if (plan := plan_of(n))}
    left, right = tree.flatten(state.left), tree.flatten(state.right)
    factors = {n: (left.get(n), right.get(n)) for n in plans}
    for names in _groups(flat, plans):
      factors |= _refreshed(
        {n: flat[n] for n in names}, factors, plans[names[0]], solver, state
      )
    low = {
      n: projections.project(g, factors[n]) if n in plans else g
      for n, g in flat.items()
    }
    steps, inner_state = inner.update(tree.unflatten(low), state.inner)
    steps = tree.flatten(steps)
    for n, plan in plans.items():
      steps[n] = plan.scale * projections.back(steps[n], factors[n])
    new = GaLoreState(
      count=state.count + 1,
      left=tree.unflatten({n: factors[n][0] for n in left}),
      right=tree.unflatten({n: factors[n][1] for n in right}),
      inner=inner_state,
    )
    cast = {n: steps[n].astype(g.dtype) for n, g in flat.items()}
    return tree.unflatten(cast), new

  return optax.GradientTransformation(init, update)


def galore(
  learning_rate: optax.ScalarOrSchedule,
  *,
  weight_decay: float = 0.0,
  inner: optax.GradientTransformation | None = None,
  **kwargs: Any,
) -> optax.GradientTransformation:
  """Returns the whole optimizer of the official code, GaLore's AdamW.

  Its decay is of the weights after the step; optax's is of those before. The
  difference is lr^2 * weight_decay * |direction|.

  Args:
    learning_rate: or its schedule.
    weight_decay: decoupled, of all leaves.
    inner, **kwargs: see `scale_by_galore`.
  """
  return optax.chain(
    scale_by_galore(inner, **kwargs),
    optax.scale_by_learning_rate(learning_rate),
    decay_after(learning_rate, weight_decay),
  )


def decay_after(
  learning_rate: optax.ScalarOrSchedule, weight_decay: float
) -> optax.GradientTransformation:
  """Returns the decay of the weights that an update leads to.

  The last part of a chain: u -> u - lr * weight_decay * (w + u).
  """

  def init(params):
    del params
    return optax.ScaleByScheduleState(jnp.zeros((), jnp.int32))

  def update(updates, state, params):
    rate = learning_rate
    rate = rate(state.count) if callable(rate) else rate
    factor = rate * weight_decay
    updates = jax.tree.map(
      lambda u, w: (u - factor * (w + u)).astype(u.dtype), updates, params
    )
    return updates, optax.ScaleByScheduleState(state.count + 1)

  return optax.GradientTransformation(init, update)


def core(
  *,
  b1: Rate = 0.9,
  b2: Rate = 0.999,
  eps: Positive = 1e-6,
  bits: Literal[8, 32] = 32,
  dtype: Dtype = 'float32',
  rank: Count = 128,
  update_proj_gap: Count = 200,
  scale: Positive = 0.25,
  projection: Projection = 'std',
  solver: Solver = 'svd',
  targets: Targets = BLOCKS,
) -> optax.GradientTransformation:
  """Returns what a config names `galore`: see `scale_by_galore`, `moments`."""
  adam = moments.scale_by_adam(b1, b2, eps, bits, dtype)
  return scale_by_galore(
    adam,
    rank=rank,
    update_proj_gap=update_proj_gap,
    scale=scale,
    projection=projection,
    solver=solver,
    targets=targets,
  )


def planner(targets: Targets, default: Plan) -> Callable[[str], Plan | None]:
  """Returns name -> its plan, None if no target matches.

  Raises:
    ValueError: a target's setting that isn't one of `Plan`, or not what is
      written there.
  """
  rules = []
  for target in targets:
    pattern, changes = (target, {}) if isinstance(target, str) else target
    unknown = sorted(set(changes) - set(Plan._fields))
    if unknown:
      raise ValueError(
        f'target {pattern!r}: unknown keys {unknown}; known are {Plan._fields}'
      )
    check_arguments(Plan, changes, f'target {pattern!r}')
    rules.append((pattern, default._replace(**changes)))
  return lambda name: tree.first_match(rules, name)


def _checked_plans(flat, plan_of, targets) -> dict[str, Plan]:
  """Returns the plans of the targets among the leaves that learn."""
  plans = {n: plan for n in flat if (plan := plan_of(n))}
  if not plans:
    raise ValueError(
      f'targets {list(targets)} match none of the leaves that learn, so there '
      'is no gradient to project:\n  ' + '\n  '.join(flat)
    )
  for name, plan in plans.items():
    shape = tuple(flat[name].shape)
    if len(shape) < 2:
      raise ValueError(f'{name} {shape} is no matrix; narrow the targets')
    if plan.rank > min(shape[-2:]):
      raise ValueError(
        f'rank {plan.rank} is over the size of {name} {shape}: at most '
        f'{min(shape[-2:])}; lower the rank, or give that leaf its own: '
        "targets=((pattern, {'rank': ...}), ...)"
      )
  return plans


def _groups(flat, plans) -> list[list[str]]:
  """Names whose factors are found together: equal shapes, or each by itself."""
  if projections.devices() == 1:
    return [[name] for name in plans]
  groups = {}
  for name, plan in plans.items():
    key = (flat[name].shape, flat[name].dtype, plan)
    groups.setdefault(key, []).append(name)
  return list(groups.values())


def _refreshed(grads, factors, plan, solver, state) -> dict[str, Any]:
  """Returns the group's factors for this step, {name: factors}."""
  names = list(grads)
  old = {n: factors[n] for n in names}
  key = jax.random.fold_in(jax.random.key(0), state.count)

  def find(stack):
    return projections.find(stack, plan.rank, plan.projection, solver, key)

  def new(grads, old):
    stack = jnp.stack([grads[n] for n in names])
    flat = stack.reshape(-1, *stack.shape[-2:])
    fresh = projections.share_out(find, flat)
    fresh = jax.tree.map(
      lambda x: x.reshape(*stack.shape[:-2], *x.shape[-2:]), fresh
    )
    return {
      n: jax.tree.map(lambda x, o, i=i: x[i].astype(o.dtype), fresh, old[n])
      for i, n in enumerate(names)
    }

  due = state.count % plan.update_proj_gap == 0
  return jax.lax.cond(due, new, lambda _, old: old, grads, old)
