"""TrainState: all that a run carries from step to step, and its split."""

from collections.abc import Collection, Mapping
from typing import Any

import flax.struct
import jax

from glue_jax import tree


class TrainState(flax.struct.PyTreeNode):
  """All that a run carries from step to step; every field is saved.

  Attributes:
    step: finished steps, () int32.
    params: the leaves that learn.
    frozen: named trees that don't: 'params' is the frozen part of the model,
      'opt_state' the optimizer's state of that part where a method keeps it,
      others are a method's own (a teacher, a generator).
    opt_state: the optimizer's state for `params`.
    extra: what is neither learned by gradient nor frozen.
  """

  step: jax.Array
  params: Any
  frozen: Mapping[str, Any]
  opt_state: Any
  extra: Mapping[str, Any]

  def all_params(self) -> tree.Tree:
    """Returns the model's whole tree, learning and frozen leaves."""
    return tree.merge(self.params, self.frozen['params'])

  def optimizer_state(self) -> tuple[Any, Any]:
    """Returns the optimizer's state of what learns, and of what is frozen."""
    return self.opt_state, self.frozen.get('opt_state', {})


def split(
  params: tree.Tree, learning: Collection[str]
) -> tuple[tree.Tree, tree.Tree]:
  """Splits a tree into the leaves that learn and the others.

  The split comes before the gradient: a mask inside one program saves neither
  the gradient's memory nor its time.

  Raises:
    ValueError: a name that isn't there, or nothing at all learns.
  """
  unknown = sorted(set(learning) - tree.flatten(params).keys())
  if unknown:
    raise ValueError(f'the model has no leaves {unknown} that could learn')
  if not learning:
    raise ValueError('no leaf learns: the methods hold all of them')
  return tree.partition(params, lambda name: name in learning)


def resplit(
  state: TrainState, learning: Collection[str], tx: Any
) -> TrainState:
  """Moves leaves between `params` and `frozen` when others learn.

  The optimizer's state of a leaf that goes on learning is kept; of one that
  begins to learn it starts afresh, unless it was kept (`parked`).

  Raises:
    ValueError: a state is kept, but not for a leaf that begins to learn.
  """
  train, frozen = split(state.all_params(), learning)
  if tree.flatten(train).keys() == tree.flatten(state.params).keys():
    return state
  others = dict(state.frozen, params=frozen)
  old = tree.paths(state.opt_state)
  keeps = 'opt_state' in state.frozen
  if keeps:
    old |= tree.flatten(state.frozen['opt_state'])
    # No fresh state is made: it would be as large as that which is kept.
    fresh = jax.eval_shape(tx.init, train)
  else:
    fresh = tx.init(train)

  def keep(path, fresh):
    name = '/'.join(tree.path_keys(path))
    leaf = old.get(name)
    same = leaf is not None and leaf.shape == fresh.shape
    if keeps and not same:
      raise ValueError(
        f"the optimizer's state has no place {name!r} of its own, so it cannot "
        'be kept for leaves that learn again; use another optimizer'
      )
    return leaf if same else fresh

  opt_state = jax.tree_util.tree_map_with_path(keep, fresh)
  if keeps:
    learning = tree.paths(opt_state).keys()
    rest = {n: x for n, x in old.items() if n not in learning}
    others['opt_state'] = tree.unflatten(rest)
  return state.replace(params=train, frozen=others, opt_state=opt_state)


def parked(tx: Any, train: tree.Tree, params: tree.Tree) -> tree.Tree:
  """Returns the optimizer's fresh state of the leaves that don't learn.

  Args:
    tx: the optimizer; its state must have a place for each leaf.
    train: the leaves that learn.
    params: all leaves.

  Returns:
    the leaves of `tx.init(params)` that `tx.init(train)` lacks, by path.
  """
  learning = tree.paths(jax.eval_shape(tx.init, train)).keys()

  def rest():
    state = tree.paths(tx.init(params))
    return {n: x for n, x in state.items() if n not in learning}

  return tree.unflatten(jax.jit(rest)())
