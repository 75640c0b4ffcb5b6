"""TrainState: all that a run carries from step to step, and its split."""

from collections.abc import Mapping
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


def split(params: tree.Tree, labels: tree.Tree) -> tuple[tree.Tree, tree.Tree]:
  """Splits a tree into leaves labelled 'train' and leaves labelled 'frozen'.

  The split comes before the gradient: a mask inside one program saves neither
  the gradient's memory nor its time.

  Raises:
    ValueError: labels and params have other names, another label is used, or
      nothing at all learns.
  """
  flat = tree.flatten(labels)
  names = tree.flatten(params).keys()
  if flat.keys() != names:
    raise ValueError(
      f'labels and parameters differ in {sorted(flat.keys() ^ names)}'
    )
  wrong = {n: v for n, v in flat.items() if v not in ('train', 'frozen')}
  if wrong:
    raise ValueError(f"labels must be 'train' or 'frozen', found {wrong}")
  train, frozen = tree.partition(params, lambda n: flat[n] == 'train')
  if not train:
    raise ValueError('no leaf learns: every label is frozen')
  return train, frozen


def resplit(state: TrainState, labels: tree.Tree, tx: Any) -> TrainState:
  """Moves leaves between `params` and `frozen` when the labels change.

  The optimizer's state of a leaf that goes on learning is kept; of one that
  begins to learn it starts afresh.
  """
  train, frozen = split(state.all_params(), labels)
  if tree.flatten(train).keys() == tree.flatten(state.params).keys():
    return state
  old = {
    jax.tree_util.keystr(path): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(state.opt_state)
  }

  def keep(path, fresh):
    leaf = old.get(jax.tree_util.keystr(path))
    same = leaf is not None and leaf.shape == fresh.shape
    return leaf if same else fresh

  opt_state = jax.tree_util.tree_map_with_path(keep, tx.init(train))
  return state.replace(
    params=train,
    frozen=dict(state.frozen, params=frozen),
    opt_state=opt_state,
  )
