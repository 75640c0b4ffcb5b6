"""What a run starts with: its optimizer, and its state by what learns."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from glue_jax import tree
from glue_jax.devices import sharding
from glue_jax.optim import build as optim
from glue_jax.training import phases
from glue_jax.training.parts import Parts
from glue_jax.training.state import TrainState, parked, split


def make_optimizer(parts: Parts) -> tuple[Any, dict[str, Callable]]:
  """Returns (transformation, {'lr': schedule}), wrapped by the method.

  Of an objective with phases (`phases.Optimizers`, {phase + '/lr': schedule}).
  """
  names = tree.flatten(parts.params)

  def make(**changes):
    return optim.make(
      total_steps=parts.total_steps,
      names=names,
      leaf_states=parts.method.revisits,
      companions=parts.method.companions,
      **parts.sections.optimizer | changes,
    )

  objective, settings = parts.objective, parts.sections.phases
  if objective.phases or settings:
    return phases.optimizers(objective, settings, parts.method, names, make)
  tx, rate = make()
  wrap = parts.method.wrap_tx
  return (wrap(tx) if wrap else tx), {'lr': rate}


def initial_state(parts: Parts, tx: Any, key: jax.Array) -> TrainState:
  """Returns the state before the first step, in place on the mesh."""
  method = parts.method
  learning = method.learns(tree.flatten(parts.params), {})
  params, frozen = split(parts.params, learning)
  extras = {}
  if method.init_extra:
    extras = method.init_extra(jax.random.fold_in(key, 1), parts.params)
  extras = extras | parts.extra
  others = {}
  if method.init_frozen:
    others = method.init_frozen(jax.random.fold_in(key, 2))
    taken = others.keys() & {'params', 'opt_state'}
    if taken:
      raise ValueError(f'{method.name}: init_frozen may not use {taken}')
  if method.revisits:
    others['opt_state'] = parked(tx, params, parts.params)
  # Made where they stay: a state may be too large for one device.
  specs = sharding.like_params(
    jax.eval_shape(tx.init, params),
    sharding.param_specs(params, parts.rules, parts.mesh),
    parts.mesh,
  )
  state = TrainState(
    step=jax.numpy.zeros((), jax.numpy.int32),
    params=params,
    frozen={'params': frozen} | others,
    opt_state=jax.jit(tx.init, out_shardings=specs)(params),
    extra=extras,
  )
  return sharding.put_state(state, parts.rules, parts.mesh)


def abstract_state(parts: Parts, tx: Any, key: jax.Array) -> TrainState:
  """Returns what `initial_state` would be, as shapes and their places."""

  def make(params, key):
    return initial_state(dataclasses.replace(parts, params=params), tx, key)

  shapes = jax.eval_shape(make, parts.params, key)
  specs = sharding.state_specs(shapes, parts.rules, parts.mesh)
  return sharding.placed(shapes, specs)


def calibrate(parts: Parts, begun: TrainState) -> None:
  """Lets methods set parameters and extra trees by the first epoch's batches.

  Once, where a run begins that no checkpoint replaces. The parts have what
  comes of it; a state is to be made anew (`initial_state`).

  Args:
    parts: of the run.
    begun: its state without it.

  Raises:
    ValueError: other names or shapes than there were.
  """
  method, data = parts.method, parts.train_data()
  apply = parts.apply.replace(
    frozen=begun.frozen, extra=begun.extra, step=begun.step
  )

  def batches():
    for step in range(data.steps_per_epoch):
      yield sharding.put_batch(data.batch(step), parts.mesh)

  params, extra = method.calibrate(apply, parts.params, batches)
  given = {'params': params, 'extra': extra}
  before = {'params': parts.params, 'extra': begun.extra}
  problem = tree.diff(before, given)
  if problem:
    raise ValueError(
      f'{method.name}: calibrate gives other leaves than there were; a tree of '
      f'`extra` begins in init_extra (- missing, + new, ! shape):\n{problem}'
    )
  placed = sharding.put(given, jax.tree.map(lambda x: x.sharding, before))
  parts.params, parts.extra = placed['params'], placed['extra']
