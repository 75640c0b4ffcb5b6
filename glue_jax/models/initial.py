"""Fresh parameters, drawn one by one.

A jitted `init` compiles anew for every model, and random draws are the slowest
part of it to compile. Here `init` is only traced; the draws of the leaves that
are asked for run one after another, and each is a program that all leaves of
that shape share, of this model and of any other.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
from jax.extend import core

from glue_jax import tree

# What holds more than a draw.
_WHOLE = ('checkpoint', 'scan', 'while')


@dataclasses.dataclass(frozen=True)
class Traced:
  """What a model's `init` computes from a key.

  Attributes:
    shapes: {name of a leaf: its shape and type}.
    closed: the program of all leaves, in the order of their names.
    rng: the typed key.
  """

  shapes: dict[str, jax.ShapeDtypeStruct]
  closed: core.ClosedJaxpr
  rng: jax.Array

  def draw(
    self, names: Collection[str], unread: bool = False
  ) -> dict[str, Any]:
    """Returns some leaves.

    Args:
      names: of the leaves; what only others need is not computed.
      unread: draw each leaf where it is used (`tree.Unread`): of a model that
        is larger than memory.
    """
    names, jaxpr = sorted(names), self.closed.jaxpr
    leaves = dict(zip(sorted(self.shapes), jaxpr.outvars))
    wanted = [leaves[name] for name in names]
    steps = _needed(jaxpr.eqns, wanted)
    # In some programs a draw can't be told from what is computed with it.
    if not unread or any(step.primitive.name in _WHOLE for step in steps):
      return dict(zip(names, self._run(steps, wanted)))

    def later(var):
      def read():
        return self._run(_needed(steps, [var]), [var])[0]

      return tree.Unread(var.aval.shape, var.aval.dtype, read)

    return {name: later(leaves[name]) for name in names}

  def _run(self, steps, wanted):
    jaxpr = self.closed.jaxpr.replace(
      eqns=steps,
      outvars=wanted,
      debug_info=self.closed.jaxpr.debug_info.with_unknown_names(),
    )
    run = core.jaxpr_as_fun(self.closed.replace(jaxpr=jaxpr))
    if any(step.primitive.name in _WHOLE for step in steps):
      run = jax.jit(run)
    return run(self.rng)


def trace(
  init: Callable[..., tree.Tree], rng: jax.Array, batch: Mapping[str, Any]
) -> Traced:
  """Traces a model's `init`; nothing is computed.

  Args:
    init: (rng, batch) -> tree.
    rng: typed key.
    batch: an example batch (shapes are read, values aren't).
  """
  closed, shapes = jax.make_jaxpr(
    lambda rng: tree.flatten(init(rng, batch)), return_shape=True
  )(rng)
  return Traced(shapes, closed, rng)


def _needed(steps, outvars):
  """The equations that the outputs depend on, in order."""
  live = {id(var) for var in outvars}
  kept = []
  for step in reversed(steps):
    if any(id(var) in live for var in step.outvars):
      kept.append(step)
      live |= {id(var) for var in step.invars}
  return kept[::-1]
