"""Methods become one: their functions joined, their leaves added."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from glue_jax import tree
from glue_jax.method import Context, Method, Objective
from glue_jax.models import initial
from glue_jax.plugs import Apply
from glue_jax.training import companions, learning
from glue_jax.training.learning import Leaves
from glue_jax.training.sections import Sections


def made(
  sections: Sections, context: Context
) -> tuple[Objective, list[Method]]:
  """Returns the objective, and all methods of a run.

  What the objective brings along stands before the config's methods.

  Args:
    sections: the config, bound.
    context: what they may look at.
  """
  objective, *methods = (
    part.make(context, **part.arguments)
    for part in (sections.objective, *sections.methods)
  )
  return objective, [m for m in (objective.method, *methods) if m]


def compose(methods: Sequence[Method], leaves: Leaves | None = None) -> Method:
  """Joins methods into one that applies them in order.

  Export folds them in the same order: the first one's plugs are innermost.
  Surgery is left out: `add_leaves` runs it, since who added a leaf matters.

  Args:
    methods: applied left to right.
    leaves: from `add_leaves`; None if the leaves' names play no part.

  Raises:
    ValueError: a method twice, two methods that use one frozen/extra name or
      bring networks of one name, or two that don't agree on which leaves learn.
  """
  names = [m.name for m in methods]
  twice = sorted({n for n in names if names.count(n) > 1})
  if twice:
    raise ValueError(f'methods given twice: {twice}')
  leaves = leaves or Leaves(frozenset(), {}, {})
  learning.check(methods, leaves)
  beside = companions.joined(methods)
  methods = [companions.unfolded(method) for method in methods]

  return Method(
    name='+'.join(names) or 'full fine-tuning',
    shape=_chain(methods, 'shape'),
    variants=tuple(key for m in methods for key in m.variants),
    plugs=tuple(
      dataclasses.replace(plug, owner=m.name)
      for m in methods
      for plug in m.plugs
    ),
    companions=beside,
    reparam=_chain(methods, 'reparam'),
    wrap_loss=_chain(methods, 'wrap_loss'),
    learns=learning.joined(methods, leaves),
    wrap_tx=_chain(methods, 'wrap_tx'),
    revisits=any(m.revisits for m in methods),
    init_frozen=_join(methods, 'init_frozen'),
    init_extra=_join(methods, 'init_extra'),
    update_extra=_chain(methods, 'update_extra'),
    evaluates=_chain(methods, 'evaluates'),
    calibrate=_calibrate(methods),
    collect=_collect(methods),
    prepare=_prepare(methods),
    hooks=tuple(hook for m in methods for hook in m.hooks),
    truncate=_chain(methods, 'truncate'),
    export=_chain(methods, 'export'),
  )


def add_leaves(
  rng: jax.Array,
  params: tree.Tree,
  apply: Apply,
  methods: Sequence[Method],
  batch: Mapping[str, Any],
) -> tuple[tree.Tree, Leaves]:
  """Adds every method's leaves, then runs its surgery, in order.

  The plugs' leaves come from initialising with the plugs and keeping the new
  names only: what the model already has is never touched. Those of a network
  beside the model come next.

  Args:
    rng: typed key.
    params: the model's tree.
    apply: the plain model.
    methods: in order.
    batch: an example batch (shapes are read, values aren't).

  Returns:
    (params, leaves): the tree, and whose its leaves are.

  Raises:
    ValueError: two methods add one leaf name, the model has no such layer, or
      what a method's own parts refuse; names the method and those beside it.
  """
  leaves = Leaves(frozenset(tree.flatten(params)), {}, {})
  for i, method in enumerate(methods):
    # Shapes may depend on the plugs of earlier methods, so all are entered.
    plugs = tuple(plug for m in methods[: i + 1] for plug in m.plugs)
    key = jax.random.fold_in(rng, i)
    try:
      params = _add(
        key, params, apply.replace(plugs=plugs), method, leaves, batch
      )
    except ValueError as error:
      others = ', '.join(m.name for m in methods if m is not method)
      beside = f' (beside {others})' if others else ''
      raise ValueError(f'{method.name}{beside}: {error}') from error
  return params, leaves


def _add(key, params, apply, method, leaves, batch) -> tree.Tree:
  """Adds one method's leaves to the tree and to the record."""
  if method.plugs:
    own_plugs = apply.replace(plugs=method.plugs)
    alone = initial.trace(own_plugs.init_checked, key, batch)
    own = alone.shapes.keys() - leaves.model
    taken = own & tree.flatten(params).keys()
    if taken:
      holder = {n: leaves.owners.get(n, 'the model') for n in sorted(taken)}
      raise ValueError(
        f'adds leaves that are there already: {holder}; use one of the '
        'methods, or other targets'
      )
    beside = apply.plugs != method.plugs  # those of earlier methods
    traced = initial.trace(apply.init, key, batch) if beside else alone
    params = tree.merge(params, tree.unflatten(traced.draw(own)))
    leaves.owners.update(dict.fromkeys(own, method.name))
  if method.companions:
    before = tree.flatten(params).keys()
    key_beside = jax.random.fold_in(key, 2)
    params = companions.add(key_beside, params, method, batch)
    own = tree.flatten(params).keys() - before
    leaves.owners.update(dict.fromkeys(own, method.name))
  if method.surgery:
    before = tree.flatten(params).keys()
    values = tree.read(params)
    changed = method.surgery(jax.random.fold_in(key, 1), values)
    params = tree.unread(params, values, changed)
    after = tree.flatten(params).keys()
    leaves.owners.update(dict.fromkeys(after - before, method.name))
    gone = leaves.model & before - after
    leaves.replaced.update(dict.fromkeys(gone, method.name))
  return params


def _chain(methods, field) -> Callable | None:
  fns = [getattr(m, field) for m in methods if getattr(m, field)]
  if not fns:
    return None

  def chained(value, *args):
    for fn in fns:
      value = fn(value, *args)
    return value

  return chained


def _calibrate(methods) -> Callable | None:
  fns = [m.calibrate for m in methods if m.calibrate]
  if not fns:
    return None

  def calibrate(apply, params, batches):
    extra = dict(apply.extra)
    for fn in fns:
      params, new = fn(apply.replace(extra=extra), params, batches)
      extra |= new
    return params, extra

  return calibrate


def _collect(methods) -> Callable | None:
  fns = [m.collect for m in methods if m.collect]
  if not fns:
    return None

  def collect(host, batch):
    for fn in fns:
      batch = fn(host, batch)
    return batch

  return collect


def _prepare(methods) -> Callable | None:
  fns = [m.prepare for m in methods if m.prepare]
  if not fns:
    return None

  def prepare(apply, params, batch, rng):
    for i, fn in enumerate(fns):
      batch = fn(apply, params, batch, jax.random.fold_in(rng, i))
    return batch

  return prepare


def _join(methods, field) -> Callable | None:
  fns = [(m.name, getattr(m, field)) for m in methods if getattr(m, field)]
  if not fns:
    return None

  def joined(rng, *args):
    trees: dict[str, Any] = {}
    owners: dict[str, str] = {}
    for i, (name, fn) in enumerate(fns):
      new = fn(jax.random.fold_in(rng, i), *args)
      twice = sorted(trees.keys() & new.keys())
      if twice:
        raise ValueError(
          f'{name} and {owners[twice[0]]} both keep a tree named {twice[0]!r} '
          f'({field}); leave one of them out'
        )
      trees |= new
      owners |= dict.fromkeys(new, name)
    return trees

  return joined
