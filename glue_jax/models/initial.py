"""Fresh parameters, drawn one by one.

A jitted `init` compiles anew for every model, and random draws are the slowest
part of it to compile. Here `init` is only traced; the draws of the leaves that
are asked for run one after another, and each is a program that all leaves of
that shape share, of this model and of any other.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import numpy as np
from jax.extend import core

from glue_jax import tree

# What holds more than a draw.
_WHOLE = ('checkpoint', 'scan', 'while')


def draw(
  init: Callable[..., tree.Tree],
  names: Collection[str],
  rng: jax.Array,
  batch: Mapping[str, Any],
  unread: bool = False,
) -> dict[str, Any]:
  """Returns some leaves of what a model's `init` gives.

  Args:
    init: (rng, batch) -> tree.
    names: of the leaves; what only others need is not computed.
    rng: typed key.
    batch: an example batch (shapes are read, values aren't).
    unread: draw each leaf where it is used (`tree.Unread`): of a model that is
      larger than memory.
  """
  names = sorted(names)

  def wanted(rng):
    flat = tree.flatten(init(rng, batch))
    return {name: flat[name] for name in names}

  closed = jax.make_jaxpr(wanted)(rng)
  steps = _needed(closed.jaxpr.eqns, closed.jaxpr.outvars)
  # In some programs a draw can't be told from what is computed with it.
  if not unread or any(step.primitive.name in _WHOLE for step in steps):
    return dict(zip(names, _run(closed, steps, closed.jaxpr.outvars, rng)))

  def later(var):
    def read():
      return np.asarray(_run(closed, _needed(steps, [var]), [var], rng)[0])

    return tree.Unread(var.aval.shape, var.aval.dtype, read)

  return {name: later(v) for name, v in zip(names, closed.jaxpr.outvars)}


def _run(closed, steps, outvars, rng):
  jaxpr = closed.jaxpr.replace(eqns=steps, outvars=outvars, debug_info=None)
  run = core.jaxpr_as_fun(closed.replace(jaxpr=jaxpr))
  if any(step.primitive.name in _WHOLE for step in steps):
    run = jax.jit(run)
  return run(rng)


def _needed(steps, outvars):
  """The equations that the outputs depend on, in order."""
  live = {id(var) for var in outvars}
  kept = []
  for step in reversed(steps):
    if any(id(var) in live for var in step.outvars):
      kept.append(step)
      live |= {id(var) for var in step.invars}
  return kept[::-1]
