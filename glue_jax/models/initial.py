"""Fresh parameters, drawn one by one.

A jitted `init` compiles anew for every model, and random draws are the slowest
part of it to compile. Here `init` is only traced; the draws of the leaves that
are asked for run one after another, and each is a program that all leaves of
that shape share, of this model and of any other.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
from jax.extend import core

from glue_jax import tree

# What holds more than a draw.
_WHOLE = ('checkpoint', 'scan', 'while')


def draw(
  init: Callable[..., tree.Tree],
  names: Collection[str],
  rng: jax.Array,
  batch: Mapping[str, Any],
) -> dict[str, jax.Array]:
  """Returns some leaves of what a model's `init` gives.

  Args:
    init: (rng, batch) -> tree.
    names: of the leaves; what only others need is not computed.
    rng: typed key.
    batch: an example batch (shapes are read, values aren't).
  """

  def wanted(rng):
    flat = tree.flatten(init(rng, batch))
    return {name: flat[name] for name in sorted(names)}

  closed = jax.make_jaxpr(wanted)(rng)
  steps = _needed(closed.jaxpr)
  sliced = closed.jaxpr.replace(eqns=steps)
  run = core.jaxpr_as_fun(closed.replace(jaxpr=sliced))
  if any(step.primitive.name in _WHOLE for step in steps):
    # Here a draw can't be told from what the model computes with it.
    run = jax.jit(run)
  return dict(zip(sorted(names), run(rng)))


def _needed(jaxpr):
  """The equations that the outputs depend on, in order."""
  live = {id(var) for var in jaxpr.outvars}
  kept = []
  for step in reversed(jaxpr.eqns):
    if any(id(var) in live for var in step.outvars):
      kept.append(step)
      live |= {id(var) for var in step.invars}
  return kept[::-1]
