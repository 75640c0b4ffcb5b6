"""Networks beside the model: their leaves, their places, their end.

What a method's or an objective's `companions` mean for a run; the record is
`method.Companion`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from glue_jax import tree
from glue_jax.method import Companion, Method
from glue_jax.models import initial
from glue_jax.plugs import Apply


def joined(methods: Sequence[Method]) -> dict[str, Companion]:
  """Returns {name: companion} of all methods.

  Raises:
    ValueError: two have one name.
  """
  owners: dict[str, str] = {}
  found: dict[str, Companion] = {}
  for method in methods:
    for name, companion in method.companions.items():
      if name in found:
        raise ValueError(
          f'{method.name} and {owners[name]} both bring a network named '
          f'{name!r}; leave one of them out'
        )
      owners[name], found[name] = method.name, companion
  return found


def add(
  rng: jax.Array, params: tree.Tree, method: Method, batch: Mapping[str, Any]
) -> tree.Tree:
  """Adds the leaves of a method's companions that learn.

  Args:
    rng: typed key; each companion folds its place among them in.
    params: the tree so far.
    method: whose.
    batch: an example batch (shapes are read, values aren't).

  Raises:
    ValueError: the name is taken, or weights don't fit their network.
  """
  for i, (name, companion) in enumerate(method.companions.items()):
    shapes = jax.eval_shape(companion.apply.init, rng, batch)
    if companion.weights is not None:
      problem = tree.diff(shapes, companion.weights)
      if problem:
        raise ValueError(
          f'the weights of {name!r} do not fit their network (- missing, + '
          f'left over, ! other shape):\n{problem}'
        )
    if not companion.learns:
      continue
    if name in params:
      raise ValueError(f'a network named {name!r} is there already')
    weights = companion.weights
    if weights is None:
      key = jax.random.fold_in(rng, i)
      fresh = initial.trace(companion.apply.init, key, batch)
      weights = tree.unflatten(fresh.draw(fresh.shapes))
    params = {**params, name: weights}
  return params


def unfolded(method: Method) -> Method:
  """Returns the method whose own functions do what its companions ask for.

  Trees of those that don't learn stand among its frozen ones; leaves that are
  not kept are dropped from what is exported.
  """
  teachers = {
    n: c.weights for n, c in method.companions.items() if not c.learns
  }
  dropped = [n for n, c in method.companions.items() if not c.keep]
  own_trees, own_export = method.init_frozen, method.export
  if not method.companions:
    return method

  def init_frozen(rng):
    trees = own_trees(rng) if own_trees else {}
    twice = sorted(trees.keys() & teachers.keys())
    if twice:
      raise ValueError(f'{method.name} keeps two trees named {twice[0]!r}')
    return {**trees, **teachers}

  def export(params):
    params = own_export(params) if own_export else params
    return {n: branch for n, branch in params.items() if n not in dropped}

  return dataclasses.replace(
    method,
    init_frozen=init_frozen if own_trees or teachers else None,
    export=export if own_export or len(dropped) > len(teachers) else None,
  )


def beside(plain: Apply, method: Method) -> Apply:
  """Returns the plain model with a composed method's plugs and networks."""
  networks = {n: c.apply for n, c in method.companions.items()}
  return plain.replace(
    plugs=method.plugs, companions=networks, shape=method.shape
  )


def rules(
  model: Sequence[tuple[str, tuple]], companions: Mapping[str, Companion]
) -> tuple:
  """Returns the sharding rules of all networks, the model's last.

  Args:
    model: rules of the model's own leaves.
    companions: whose names stand before their leaves'.
  """
  theirs = tuple(
    (f'{name}/(?:{pattern})', axes)
    for name, companion in companions.items()
    for pattern, axes in companion.apply.model.rules
  )
  return theirs + tuple(model)
