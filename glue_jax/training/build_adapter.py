"""A run that starts from a bundle or a folder of `peft`: `model.adapter`."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from absl import logging

from glue_jax import tree
from glue_jax.config import config as config_lib
from glue_jax.data import label_names
from glue_jax.layers import paths
from glue_jax.method import Method
from glue_jax.plugs import Apply
from glue_jax.training.learning import Leaves
from glue_jax.training.sections import Network
from glue_jax.weights import bundle_folder, head, peft_folder, run_folder

# Settings that matter in training only: the leaves mean the same without them.
_OF_TRAINING = ('dropout',)


@dataclasses.dataclass(frozen=True)
class Adapter:
  """What a folder holds of a tuned model.

  Attributes:
    folder: where it lies.
    methods: {name: all of its settings}.
    leaves: {name: array} of what was trained, without the head.
    head: {name: array} of the head.
    labels: names of the classes that the head tells apart, [] of a head without
      any; None if the folder doesn't say.
    backbone: hash of the backbone's leaves that it belongs to; None if the
      folder doesn't say.
  """

  folder: str
  methods: Mapping[str, Mapping[str, Any]]
  leaves: Mapping[str, np.ndarray]
  head: Mapping[str, np.ndarray]
  labels: Sequence[str] | None
  backbone: str | None


def start_from(
  network: Network,
  plain: Apply,
  saved: tree.Tree,
  params: tree.Tree,
  given: Mapping[str, Mapping[str, Any]],
  method: Method,
  leaves: Leaves,
  task: Any,
) -> tuple[tree.Tree, dict[str, Any]]:
  """Puts an adapter's leaves in the place of those that the seed gave.

  The head is taken only if it tells the task's own labels apart, by name. What
  the `model.fresh` patterns match starts from the seed all the same. Schedules
  of the methods begin anew.

  Args:
    network: the config's section.
    plain: the plain model.
    saved: the tree of its weights.
    params: the whole tree, with the leaves of all methods.
    given: {method of the config: its arguments}.
    method: the composed method.
    leaves: whose they are.
    task: the task's record.

  Returns:
    (params, what was taken for the run record).

  Raises:
    ValueError: no adapter, one of another backbone, a method that the config
      lacks or has with other settings, a leaf that is missing, left over or of
      another shape.
  """
  try:
    found = _read(network.adapter, plain.model)
    _check_backbone(found, saved, network.weights)
    _check_methods(found, given)
    flat = tree.flatten(params)
    learning = {
      name
      for name in method.learns(sorted(flat), {})
      if leaves.owners.get(name) in found.methods
    }
    _check_leaves(found, flat, learning)
  except ValueError as error:
    raise ValueError(f'config.model.adapter: {error}') from None

  def is_fresh(name):
    return any(tree.matches(pattern, name) for pattern in network.fresh)

  rows, refusal = _head(found, flat, task)
  if not refusal and any(map(is_fresh, rows)):
    rows, refusal = {}, 'model.fresh matches it'
  there = {**found.leaves, **rows}
  taken = {n: x for n, x in there.items() if not is_fresh(n)}
  record = {
    'folder': found.folder,
    'methods': list(found.methods),
    'leaves': len(taken),
    'fresh': sorted(there.keys() - taken.keys()),
    'head': f'fresh: {refusal}' if refusal else 'taken',
  }
  logging.info('model.adapter: %s', record)
  arrays = {n: jnp.asarray(x, flat[n].dtype) for n, x in taken.items()}
  return tree.unflatten(flat | arrays), record


def _check_backbone(found: Adapter, saved: tree.Tree, weights: Any) -> None:
  """Refuses an adapter that says that it belongs to other weights."""
  flat = tree.flatten(saved)
  encoder = {n: x for n, x in flat.items() if paths.in_stack(n)}
  ours = bundle_folder.digest(encoder)
  if found.backbone not in (None, ours):
    raise ValueError(
      f'{found.folder} belongs to a backbone with the hash '
      f'{found.backbone[:12]}...; that of model.weights={weights} is '
      f'{ours[:12]}...'
    )


def _check_methods(
  found: Adapter, given: Mapping[str, Mapping[str, Any]]
) -> None:
  """Refuses methods that the config lacks or has with other settings."""
  for name, theirs in found.methods.items():
    if name not in given:
      raise ValueError(
        f'{found.folder} holds leaves of {name!r}; config.methods has '
        f'{sorted(given) or "none"}; add it'
      )
    ours = config_lib.settings(name, given[name])
    lines = config_lib.changes(_comparable(theirs), _comparable(ours))
    if lines:
      raise ValueError(
        f'{found.folder} has other settings of {name} than the config (folder '
        f'-> config): {"; ".join(lines)}'
      )


def _comparable(settings: Mapping[str, Any]) -> dict[str, Any]:
  """Settings in which the order of a list, or what empty is, plays no part."""

  def comparable(value):
    if isinstance(value, (list, tuple)):
      value = sorted(value, key=str)
    return None if value in ([], {}) else value

  return {
    name: comparable(value)
    for name, value in settings.items()
    if name not in _OF_TRAINING
  }


def _check_leaves(
  found: Adapter, flat: Mapping[str, Any], learning: set[str]
) -> None:
  """Refuses leaves that don't fit, and learning ones that aren't there."""
  for name, value in found.leaves.items():
    if name not in flat:
      raise ValueError(f'{found.folder} has {name}; the model has no such leaf')
    if value.shape != flat[name].shape:
      raise ValueError(
        f'{found.folder}: {name} has the shape {value.shape}; the model has '
        f'{flat[name].shape}'
      )
  missing = sorted(learning - found.leaves.keys())
  if missing:
    raise ValueError(f'{found.folder} lacks {missing[0]}, which learns here')


def _head(
  found: Adapter, flat: Mapping[str, Any], task: Any
) -> tuple[Mapping[str, np.ndarray], str]:
  """The head with its rows in the order of the task's labels.

  Returns:
    (leaves, why they aren't taken); one of them is empty.
  """
  labels = list(task.labels or task.choices)
  if found.labels is None:
    return {}, 'the folder names no labels'
  refusal = f'the labels there are {list(found.labels)}, here {labels}'
  try:
    match = label_names.match(labels, found.labels, found.folder)
  except ValueError:
    return {}, refusal
  # Names that say nothing are no reason to take a head of another task; and
  # the columns of choices have no rows in it.
  if match.note or (match.permuted and task.kind not in label_names.KINDS):
    return {}, refusal
  shapes = {n: x.shape for n, x in flat.items() if n.startswith('head/')}
  if {n: x.shape for n, x in found.head.items()} != shapes:
    return {}, 'the head there has other leaves'
  return head.in_order(found.head, match.order), ''


def _read(folder: Any, module: Any) -> Adapter:
  """Reads a bundle or a folder of `peft`.

  Args:
    folder: either of them.
    module: the `Model` that it is for.

  Raises:
    ValueError: it is neither, or damaged, or of another model; or a bundle that
      holds more than parameters.
  """
  path = pathlib.Path(folder)
  if (path / bundle_folder.RECORD).is_file():
    bundle = bundle_folder.read(path)
    if bundle.extra:
      raise ValueError(
        f'{folder} holds {sorted(bundle.extra)} beside its parameters, which '
        'a new run begins afresh; a bundle without them can be started from'
      )
    methods, leaves = bundle.record['config']['methods'], bundle.params
    labels = bundle.record['labels']
    backbone = bundle.record['backbone']['sha256']
  elif (path / peft_folder.CONFIG).is_file():
    name, settings, leaves = peft_folder.read(path, module)
    methods, labels, backbone = [(name, settings)], None, None
  else:
    run = run_folder.is_workdir(path)
    raise ValueError(
      f'{folder} is neither a bundle nor a folder of peft'
      + (
        f'; write the bundle of this run first: python -m launch.bundle write '
        f'--workdir={folder} --out=BUNDLE'
        if run
        else f': it has no {bundle_folder.RECORD} and no {peft_folder.CONFIG}'
      )
    )
  in_head = {name for name in leaves if name.startswith('head/')}
  return Adapter(
    folder=str(folder),
    methods={n: config_lib.settings(n, given) for n, given in methods},
    leaves={n: x for n, x in leaves.items() if n not in in_head},
    head={n: leaves[n] for n in in_head},
    labels=labels,
    backbone=backbone,
  )
