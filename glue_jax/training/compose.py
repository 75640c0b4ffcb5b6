"""Methods become one: their functions joined, their leaves added."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from glue_jax import tree
from glue_jax.method import Method
from glue_jax.models import initial
from glue_jax.plugs import Apply, Plug


def compose(
  methods: Sequence[Method], owners: Mapping[str, str] | None = None
) -> Method:
  """Joins methods into one that applies them in order.

  Export folds them in the same order: the first one's plugs are innermost.
  Surgery is left out: `add_leaves` runs it, since who added a leaf matters.

  Args:
    methods: applied left to right.
    owners: {leaf: name of the method that added it}, from `add_leaves`. A leaf
      learns if its owner says so; one of the model's own learns only if every
      method says so.

  Raises:
    ValueError: a method twice, or two methods that use one frozen/extra name.
  """
  names = [m.name for m in methods]
  twice = sorted({n for n in names if names.count(n) > 1})
  if twice:
    raise ValueError(f'methods given twice: {twice}')
  owners = dict(owners or {})
  return Method(
    name='+'.join(names) or 'full fine-tuning',
    plugs=tuple(plug for m in methods for plug in m.plugs),
    reparam=_chain(methods, 'reparam'),
    wrap_loss=_chain(methods, 'wrap_loss'),
    labels=_labels(methods, owners),
    wrap_tx=_chain(methods, 'wrap_tx'),
    revisits=any(m.revisits for m in methods),
    init_frozen=_join(methods, 'init_frozen'),
    init_extra=_join(methods, 'init_extra'),
    update_extra=_chain(methods, 'update_extra'),
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
) -> tuple[tree.Tree, dict[str, str]]:
  """Adds the leaves of every method's plugs, then runs its surgery, in order.

  The plugs' leaves come from initialising with the plugs and keeping the new
  names only: what the model already has is never touched.

  Args:
    rng: typed key.
    params: the model's tree.
    apply: the plain model.
    methods: in order.
    batch: an example batch (shapes are read, values aren't).

  Returns:
    (params, owners): the tree, and {new leaf: name of its method}.

  Raises:
    ValueError: two methods add one leaf name; a plug sits nowhere.
  """
  owners: dict[str, str] = {}
  plugs: tuple[Plug, ...] = ()
  plain = frozenset(tree.flatten(params))
  for i, method in enumerate(methods):
    key = jax.random.fold_in(rng, i)
    plugs += method.plugs
    if method.plugs:
      apply.replace(plugs=method.plugs).touched(batch)
      shapes = jax.eval_shape(
        apply.replace(plugs=method.plugs).init, key, batch
      )
      own = tree.flatten(shapes).keys() - plain
      taken = own & tree.flatten(params).keys()
      if taken:
        holder = {n: owners.get(n, 'the model') for n in sorted(taken)}
        raise ValueError(
          f'{method.name} adds leaves that are there already: {holder}; use '
          'one of the methods, or other targets'
        )
      # Shapes may depend on the plugs of earlier methods, so all are entered.
      init = apply.replace(plugs=plugs).init
      fresh = initial.draw(init, own, key, batch)
      params = tree.merge(params, tree.unflatten(fresh))
      owners |= dict.fromkeys(own, method.name)
    if method.surgery:
      before = tree.flatten(params).keys()
      params = method.surgery(jax.random.fold_in(key, 1), params)
      new = tree.flatten(params).keys() - before
      owners |= dict.fromkeys(new, method.name)
  return params, owners


def _chain(methods, field) -> Callable | None:
  fns = [getattr(m, field) for m in methods if getattr(m, field)]
  if not fns:
    return None

  def chained(value, *args):
    for fn in fns:
      value = fn(value, *args)
    return value

  return chained


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
    for i, (name, fn) in enumerate(fns):
      new = fn(jax.random.fold_in(rng, i), *args)
      twice = trees.keys() & new.keys()
      if twice:
        raise ValueError(f'{name}: {field} names {sorted(twice)} are in use')
      trees |= new
    return trees

  return joined


def _labels(methods, owners) -> Callable:
  def labels(params, variant):
    votes = {
      m.name: tree.flatten(m.labels(params, variant))
      for m in methods
      if m.labels
    }

    def label(name, _):
      if name in owners:
        # Its owner decides; an owner without labels wants its leaf to learn.
        return votes.get(owners[name], {}).get(name, 'train')
      learns = all(vote[name] == 'train' for vote in votes.values())
      return 'train' if learns else 'frozen'

    return tree.map_named(label, params)

  return labels
