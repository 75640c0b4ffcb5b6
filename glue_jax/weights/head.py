"""The head of a model folder: which label each of its rows stands for.

A folder says so (`source.read_head`): `labels` in model.json, `id2label` in
config.json. Rows are joined to a task's labels by these names
(data/label_names.py).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from glue_jax import tree
from glue_jax.data import label_names
from glue_jax.data.label_names import LEAVES
from glue_jax.layers.kinds import WORDS

# Heads of pre-training. None has anything for a task, not even a layer that a
# task's head has as well (`head/dense`).
PRETRAINING = (*WORDS, 'replaced_tokens')


@dataclasses.dataclass(frozen=True)
class Head:
  """What a folder says of its head.

  Attributes:
    where: the folder.
    kind: of the model; None for a Hugging Face folder, whose reader looks.
    labels: names in the order of the rows; None if the folder has none.
  """

  where: str
  kind: str | None
  labels: tuple[str, ...] | None


def by_name(
  params: tree.Tree,
  found: Head,
  kind: str,
  labels: Sequence[str],
  leaves: Sequence[str] = LEAVES,
) -> tuple[tree.Tree, str]:
  """Puts the rows of a folder's head in the order of a task's labels.

  Args:
    params: the folder's tree, in our layout.
    found: what the folder says.
    kind: of the model that they are for.
    labels: of the task, in id order.
    leaves: those of `LEAVES` that are going to be used.

  Returns:
    (params, a note where the rows were taken by position).

  Raises:
    ValueError: the head is that of another kind of model, or of other labels.
  """
  flat = tree.flatten(params)
  used = [name for name in leaves if name in flat]
  if not used:
    return params, ''
  if found.kind not in (None, kind):
    raise ValueError(
      f'the head of {found.where} is one of {found.kind}, {kind} is expected'
    )
  rows = {flat[name].shape[-1] for name in used}
  # Another number of rows is refused with their shapes.
  if kind not in label_names.KINDS or rows != {len(labels)}:
    return params, ''
  where = f'the head of {found.where}'
  match = label_names.match(labels, found.labels, where)
  return tree.unflatten(in_order(flat, match.order, used)), match.note


def without_pretraining(
  params: tree.Tree, found: Head, kind: str
) -> tuple[tree.Tree, str]:
  """Leaves out a head of pre-training that is of no use for another kind.

  Args:
    params: the folder's tree, in our layout.
    found: what the folder says.
    kind: of the model that they are for; heads over words share their layers.

  Returns:
    (params, a note where a head was left out).
  """
  same = found.kind == kind or {found.kind, kind} <= set(WORDS)
  if same or found.kind not in PRETRAINING:
    return params, ''
  kept, left = tree.partition(params, lambda n: not n.startswith('head/'))
  if not tree.flatten(left):
    return params, ''
  return kept, (
    f'the head of {found.where} is one of {found.kind}: that of {kind} starts '
    'afresh'
  )


def in_order(
  flat: Mapping[str, Any], order: Sequence[int], leaves: Sequence[str] = LEAVES
) -> dict[str, Any]:
  """Returns leaves with the rows of the head in another order.

  Args:
    flat: {name: array} in our layout.
    order: place of each new row among the old ones.
    leaves: that have such rows.
  """
  if list(order) == list(range(len(order))):
    return dict(flat)
  at = np.asarray(order)
  return {n: x[..., at] if n in leaves else x for n, x in flat.items()}
