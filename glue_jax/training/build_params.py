"""The parameters that a config starts from."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from absl import logging
from jax.sharding import Mesh

from glue_jax import tree
from glue_jax.data import label_names
from glue_jax.data.tasks.task import Task
from glue_jax.devices import sharding
from glue_jax.models import initial
from glue_jax.plugs import Apply
from glue_jax.training.learning import Leaves
from glue_jax.training.sections import Network
from glue_jax.weights import head


def initial_params(
  network: Network,
  saved: tree.Tree | None,
  apply: Apply,
  rng: jax.Array,
  batch: Mapping[str, Any],
) -> tree.Tree:
  """Returns the parameters to start from.

  Their values are read or drawn where they are placed (`tree.Unread`), so that
  the host never holds all of them. Leaves that the weights have are taken from
  there. Only a head or pooler may
  be missing there and start afresh; what the `fresh` patterns match does so in
  any case (a head of another number of classes).

  Args:
    network: the config's section.
    saved: the tree of its weights; None = all leaves are drawn from the seed.
    apply: the plain model.
    rng: typed key.
    batch: an example batch (shapes are read, values aren't).

  Raises:
    ValueError: the weights lack other leaves, or have other shapes.
  """
  # Recomputing changes no draw, but hides them.
  config = dataclasses.replace(apply.model.config, remat=False)
  plain = apply.replace(model=apply.model.clone(config=config))
  fresh = initial.trace(plain.init, rng, batch)
  expected = fresh.shapes
  taken = {} if saved is None else _taken(network, saved, expected)
  missing = expected.keys() - taken.keys()
  if saved is not None and missing:
    logging.info('fresh from the seed: %s', ', '.join(sorted(missing)))
  drawn = fresh.draw(missing, unread=True)
  return tree.unflatten({n: taken.get(n, drawn.get(n)) for n in expected})


def carried(
  network: Network, saved: tree.Tree | None, params: tree.Tree, leaves: Leaves
) -> tree.Tree:
  """Returns the tree with the leaves that `model.carry` takes from the weights.

  What an earlier run's methods left there and isn't named starts as the methods
  of this run say, or is dropped; the log says which.

  Args:
    network: the config's section.
    saved: the tree of its weights, with the leaves of methods; None = they
      aren't read.
    params: the whole tree, with the leaves of this run's methods.
    leaves: whose those are.

  Raises:
    ValueError: a pattern matches no such leaf there, or one that no method of
      this run has, or has in another shape.
  """
  if saved is None or not network.carry:
    return params
  flat, there = tree.flatten(params), tree.flatten(saved)
  own = {name: x for name, x in there.items() if name not in leaves.model}
  where = f'config.model.carry: {network.weights}'
  try:
    names = sorted(tree.match(network.carry, own))
  except ValueError as error:
    raise ValueError(f'{where}: {error}') from None
  for name in names:
    if name not in flat:
      raise ValueError(f'{where} has {name}; no method of this run adds it')
    if own[name].shape != flat[name].shape:
      raise ValueError(
        f'{where} has {name} in the shape {tuple(own[name].shape)}, this run '
        f'in {tuple(flat[name].shape)}'
      )
  left = sorted(own.keys() - set(names))
  if left:
    logging.warning('%s has leaves that are not carried: %s', where, left)
  return tree.unflatten(flat | {name: own[name] for name in names})


def abstract(
  make: Callable[[jax.Array], tuple[tree.Tree, Any]], rng: jax.Array
) -> tuple[tree.Tree, Any]:
  """Returns what `make(rng)` would, with shapes in place of parameters.

  Args:
    make: rng -> (params, anything else), of which params alone are arrays.
    rng: typed key.
  """
  found = []

  def params(rng):
    made, other = make(rng)
    found.append(other)
    return tree.map_named(lambda _, x: jnp.zeros(x.shape, x.dtype), made)

  return jax.eval_shape(params, rng), found[0]


def _taken(network, saved, expected) -> dict[str, Any]:
  """The leaves of the weights that the model has and doesn't start afresh."""
  flat = tree.flatten(saved)
  leaves = {n: x for n, x in flat.items() if not _is_fresh(network, n)}
  allowed = ('head/.*', 'pooler/.*', *network.fresh)
  wanted = {
    n: x
    for n, x in expected.items()
    if n in leaves or not any(tree.matches(p, n) for p in allowed)
  }
  leaves = {n: x for n, x in leaves.items() if n in wanted}
  problem = tree.diff(tree.unflatten(wanted), tree.unflatten(leaves))
  if problem:
    raise ValueError(
      f'weights {network.weights} do not fit (- missing, ! other shape); '
      f'list what may start afresh in model.fresh:\n{problem}'
    )
  return leaves


def head_by_name(
  network: Network, saved: tree.Tree, found: head.Head, kind: str, task: Task
) -> tuple[tree.Tree, str]:
  """Puts the head of the weights in the order of the task's labels.

  Args:
    network: the config's section.
    saved: the tree of its weights.
    found: what their folder says of the head.
    kind: of the model that it is for.
    task: the task's record.

  Returns:
    (tree, a note if the weights name no labels and it was left as it is, or
    if they have the head of a pre-training objective, which is left out).

  Raises:
    ValueError: the weights have the head of another task, which doesn't start
      afresh.
  """
  saved, note = head.without_pretraining(saved, found, kind)
  if note:
    return saved, '' if _is_fresh(network, 'head/') else note
  kept = [n for n in label_names.LEAVES if not _is_fresh(network, n)]
  try:
    return head.by_name(saved, found, kind, task.labels, kept)
  except ValueError as error:
    raise ValueError(
      f"{error}; start the head afresh with config.model.fresh=('head/.*',)"
    ) from None


def _is_fresh(network: Network, name: str) -> bool:
  return any(tree.matches(pattern, name) for pattern in network.fresh)


def place(
  params: tree.Tree, rules: Sequence[tuple[str, tuple]], mesh: Mesh
) -> tree.Tree:
  """Puts parameters where they stay; shapes are told where that would be.

  Raises:
    ValueError: see `check_expert_axis`.
  """
  specs = sharding.param_specs(params, rules, mesh)
  check_expert_axis(specs, mesh)
  shapes = any(
    isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(params)
  )
  return (sharding.placed if shapes else sharding.put)(params, specs)


def check_expert_axis(specs: tree.Tree, mesh: Mesh) -> None:
  """Refuses devices along `expert` that would all do the same.

  Raises:
    ValueError: no parameter is split over that axis.
  """
  size = mesh.shape['expert']
  split = any('expert' in x.spec for x in tree.flatten(specs).values())
  if size > 1 and not split:
    raise ValueError(
      f'mesh.expert={size}, but the model has no sparse experts to split; give '
      "those devices to another axis, or set model.ffn='experts'"
    )
