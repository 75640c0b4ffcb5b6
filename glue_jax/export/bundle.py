"""A tuned model without its backbone: a folder of what the tuning changed.

`bundle.json` says which backbone it is for (id, sizes, hash), names the methods
with their settings, the task, labels and tokenizer (id, hash), and lists the
leaves. `leaves.safetensors` holds them: all that learnt, the head, and whatever
else a start from the same backbone with another seed wouldn't give. The rest is
made from the backbone again when the bundle is loaded, and its hash compared: a
loaded bundle gives the logits of the run, bit for bit, or an error.
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import optax
from absl import logging

from glue_jax import tree
from glue_jax.config import config as config_lib
from glue_jax.data import hub, label_names
from glue_jax.data.tasks.task import Task
from glue_jax.devices import sharding
from glue_jax.inference.run import Run
from glue_jax.layers import paths
from glue_jax.method import Host
from glue_jax.models import model as models
from glue_jax.training import (
  begin,
  first_state,
  inputs,
  learning,
  schema,
  session,
  transductive,
)
from glue_jax.training.parts import Parts
from glue_jax.weights import bundle_folder, head, huggingface, positions
from glue_jax.weights import source as source_lib
from glue_jax.weights.bundle_folder import EXTRA, Bundle, digest, same

# Sections of a run's config that a prediction needs.
_SECTIONS = ('task', 'data', 'model', 'objective', 'methods')
# What belongs to the machine that the run was on, or is given when loading.
_LOCAL = {
  'data': ('data_dir', 'cache_dir', 'files', 'tokenizer'),
  'model': ('adapter', 'weights'),
}


class NothingShared(ValueError):
  """All of a run's backbone has changed: it has no bundle."""


def write(run: Run, folder: str | os.PathLike) -> Bundle:
  """Writes the bundle of an open run.

  Args:
    run: its state is read.
    folder: made if needed.

  Raises:
    ValueError: the run's backbone came from no files.
    NothingShared: nothing of it stayed as it was.
  """
  state, mesh = run.host.state, run.parts.mesh
  config, weights = run.begun, run.begun.model.get('weights')
  commits = run.parts.others.get('commits', {})
  if weights in commits:
    exact = {'model': {'weights': hub.at(weights, commits[weights])}}
    config = config_lib.complete(config_lib.override(config, exact))
  record = {
    'seed': run.begun.seeds[0],
    'step': run.step,
    'variant': run.host.variant,
  } | ({transductive.MARK: True} if transductive.of_run(run) else {})
  return of_leaves(
    on_host(session.settled(run.parts, state).all_params(), mesh),
    on_host(dict(state.extra), mesh),
    record,
    config,
    run.tokenizer,
    folder,
    run.task,
    {k: v for k, v in run.parts.others.items() if k != 'commits'},
  )


def of_leaves(
  flat: Mapping[str, np.ndarray],
  extra: Mapping[str, np.ndarray],
  record: Mapping[str, Any],
  config: Any,
  tokenizer: Any,
  folder: str | os.PathLike,
  task: Task | None = None,
  others: Mapping[str, Any] | None = None,
) -> Bundle:
  """Writes the bundle of a tree's leaves.

  Args:
    flat: {name: array}, the whole tree before any export.
    extra: the same of what is neither learnt nor frozen.
    record: seed, step and variant.
    config: names the weights that the tree began from.
    tokenizer: of the run.
    folder: made if needed.
    task: of the run; None = as the config says.
    others: sizes of what its methods read (`source.Others.records`): where they
      are given, a teacher or source adapters aren't read any more.

  Raises:
    ValueError, NothingShared: see `write`.
  """
  weights = config.model.get('weights')
  if not weights:
    raise ValueError(
      'the run began from its seed, not from weights, so there is no backbone '
      'that a bundle could belong to; set config.model.weights'
    )
  start = start_of(config, record['seed'], tokenizer, task, others)
  given = on_host(start.params, start.mesh)
  learns = start.method.learns(given, record['variant'])
  shared = {
    n: x
    for n, x in flat.items()
    if n not in learns and not n.startswith('head/') and same(x, given[n])
  }
  if not any(map(paths.in_stack, shared)):
    raise NothingShared(
      'no leaf of the backbone stayed as it was; the run is a model of its '
      'own, see launch.export'
    )
  leaves = {n: x for n, x in flat.items() if n not in shared}
  leaves |= {EXTRA + n: x for n, x in extra.items()}
  module, task = start.plain.model, start.bundle.task
  record = dict(record) | {
    'backbone': _backbone(weights, module, config),
    'shared': {'count': len(shared), 'sha256': digest(shared)},
    'config': _portable(config),
    'head': {'kind': module.kind, 'num_outputs': module.num_outputs},
    'labels': list(task.labels or task.choices),
    'task': inputs.task_record(_without_paths(task)),
    'others': dict(others or {}),
    'tokenizer': {
      'id': _id(config.data.get('tokenizer') or weights),
      'sha256': tokenizer.fingerprint,
    },
  }
  return bundle_folder.save(folder, record, leaves)


def plain_model(bundle: Bundle) -> models.Model:
  """Returns the plain model that the bundle is for, without parameters."""
  backbone, head = bundle.record['backbone'], bundle.record['head']
  fields = {k: models.freeze(v) for k, v in backbone['config'].items()}
  config = models.EncoderConfig(**fields)
  grow = bundle.record['config']['model'].get('grow_positions')
  if grow:
    config = positions.grown_config(config, grow)
  return models.build(
    backbone['family'],
    kind=head['kind'],
    num_outputs=head['num_outputs'],
    config=config,
  )


def load(
  folder: str | os.PathLike,
  backbone: str,
  tokenizer: str | None = None,
  **data: Any,
) -> Run:
  """Puts a bundle and its backbone together.

  Args:
    folder: of the bundle.
    backbone: folder of the weights, or their name on the hub.
    tokenizer: the same of the tokenizer; None = that of the backbone.
    **data: overrides of the config's data section; by default nothing is read.

  Returns:
    As `open_run.load_run` does of the run itself.

  Raises:
    ValueError: see `read`; or another backbone, tokenizer or label map, a leaf
      that is missing or of another shape, or a hash that differs.
  """
  bundle = bundle_folder.read(folder)
  record, backbone = bundle.record, hub.pinned(backbone)
  _check_sizes(folder, record['backbone'], backbone)
  config = config_lib.override(
    record['config'],
    {
      'model': {'weights': str(backbone)},
      'data': {'tokenizer': str(tokenizer or backbone)},
    },
  )
  config = config_lib.complete(config | {'seeds': [record['seed']]})
  begun = inputs.task_of(record['task']) if 'task' in record else None
  others = record.get('others')  # bundles of before have none
  parts = start_of(config, record['seed'], task=begun, others=others, **data)
  order = _check_start(folder, bundle, parts, config, backbone)
  own = head.in_order(bundle.params, order)
  flat = tree.flatten(parts.params) | own
  with sharding.enter(parts.mesh):
    params = tree.unflatten(flat)
    specs = sharding.param_specs(params, parts.rules, parts.mesh)
    parts.params = sharding.put(params, specs)
    host = Host(None, 1, 1, None, step=record['step'])
    host.variant = dict(record['variant'])
    host.state = _state(parts, bundle, host)
  return Run.of(parts, host, config=config, begun=config)


def start_of(
  config: Any,
  seed: int = 0,
  tokenizer: Any = None,
  task: Task | None = None,
  others: Mapping[str, Any] | None = None,
  **data: Any,
) -> Parts:
  """Returns what a run begins with, but for another seed.

  Args:
    config: completed.
    seed: of the run.
    tokenizer: in place of the config's.
    task: what was kept of the config's, whose file may be gone.
    others: see `of_leaves`; needs the task.
    **data: overrides of the config's data section; by default nothing is read.

  Raises:
    ValueError: see `begin.build`.
  """
  # What an adapter gave has been trained on, and is in the bundle.
  config = config_lib.override(config, {'model': {'adapter': None}})
  data = {'train_split': '', 'eval_splits': ()} | data
  if tokenizer is not None:
    data['tokenizer'] = tokenizer
  kept = None
  if task is not None:
    network = config['model']
    sizes = source_lib.read_sizes(
      network['weights'], network.get('grow_positions')
    )
    kept = inputs.Inputs(task, sizes, tokens='', others=others or {})
  return begin.build(schema.bind(config, 1), seed + 1, kept=kept, **data)


def on_host(params: tree.Tree, mesh: Any) -> dict[str, np.ndarray]:
  """Returns {name: whole array} of a tree that lies on the mesh."""
  flat = tree.flatten(sharding.gather(params, mesh)) if params else {}
  return {name: np.asarray(value) for name, value in flat.items()}


def _backbone(weights, module, config) -> dict[str, Any]:
  sizes = source_lib.read_sizes(weights)
  return {
    'id': _id(weights),
    'commit': hub.split(weights)[1] if hub.is_name(weights) else None,
    'family': sizes['name'],
    'config': dataclasses.asdict(sizes['config']),
    'sha256': _weights_digest(weights, module, config),
  }


def _weights_digest(weights, module, config) -> str:
  """The hash of the backbone's leaves in a source, whatever its form."""
  params = source_lib.read_params(
    weights,
    module,
    new_head=True,
    cast=config.model.get('cast', False),
    grow_positions=config.model.get('grow_positions'),
  )
  flat = tree.flatten(params)
  return digest({n: x for n, x in flat.items() if paths.in_stack(n)})


def _portable(config) -> dict[str, Any]:
  sections = {key: config_lib.plain(config[key]) for key in _SECTIONS}
  for section, keys in _LOCAL.items():
    for key in keys:
      sections[section].pop(key, None)
  return sections


def _without_paths(task: Task) -> Task:
  """The task with names of files only, which are looked up in data_dir."""
  names = {k: pathlib.Path(v).name for k, v in task.sources.items()}
  return task if task.tfds else dataclasses.replace(task, sources=names)


def _id(source) -> str:
  if hub.is_name(source):
    return hub.split(source)[0]
  return pathlib.Path(str(source)).name


def _check_sizes(folder, wanted, backbone):
  """Refuses a backbone of another family or other sizes."""
  sizes = source_lib.read_sizes(backbone)

  def fields(config):
    return {
      key: value
      for key, value in config_lib.plain(config).items()
      if key not in huggingface.RUNTIME
    }

  lines = config_lib.changes(
    {'family': wanted['family']} | fields(wanted['config']),
    {'family': sizes['name']} | fields(dataclasses.asdict(sizes['config'])),
  )
  if lines:
    raise ValueError(
      f'{folder} is a bundle for another backbone, {wanted["id"]!r}, than '
      f'{backbone} (bundle -> found):\n  ' + '\n  '.join(lines)
    )


def _check_start(folder, bundle, parts, config, backbone):
  """Compares all that is not in the bundle with what it was written from.

  Returns:
    The place of each of the task's labels in the bundle's head.
  """
  record = bundle.record
  sha256 = _weights_digest(backbone, parts.plain.model, config)
  if sha256 != record['backbone']['sha256']:
    raise ValueError(
      f'{folder} belongs to the backbone {record["backbone"]["id"]!r} with the '
      f'hash {record["backbone"]["sha256"][:12]}...; {backbone} has the same '
      f'sizes but other values ({sha256[:12]}...)'
    )
  if parts.bundle.tokenizer.fingerprint != record['tokenizer']['sha256']:
    raise ValueError(
      f'{folder} was trained with the tokenizer {record["tokenizer"]["id"]!r}, '
      f'which {config.data.tokenizer} is not (its hash differs); give the '
      'folder of that tokenizer'
    )
  order = _order(folder, record['labels'], parts)
  flat = on_host(parts.params, parts.mesh)
  own = bundle.params
  fitting = {n: x for n, x in flat.items() if n in own}
  gap = tree.diff(tree.unflatten(fitting), tree.unflatten(own))
  shared = {n: x for n, x in flat.items() if n not in own}
  if gap or len(shared) != record['shared']['count']:
    raise ValueError(
      f'{folder}: its leaves do not fit its methods (+ left over, ! other '
      f'shape), which leave {len(shared)} leaves to the backbone where '
      f'{record["shared"]["count"]} are expected:\n{gap}'
    )
  if digest(shared) != record['shared']['sha256']:
    raise ValueError(
      f'{folder}: the leaves that its methods make from the backbone have '
      'other values here than where the bundle was written'
    )
  return order


def _order(folder, theirs, parts) -> tuple[int, ...]:
  """The place of each of the task's labels in the bundle's head."""
  task = parts.bundle.task
  ours = list(task.labels or task.choices)
  try:
    match = label_names.match(ours, theirs, str(folder))
  except ValueError as error:
    raise ValueError(f'{error} ({task.name}): another task') from None
  # The columns of choices have no rows in a head.
  if match.permuted and task.kind not in label_names.KINDS:
    raise ValueError(
      f'{folder} has the choices {theirs}, {task.name} has {ours}'
    )
  if match.note:
    logging.warning('%s', match.note)
    parts.notes += (match.note,)
  return match.order


def _state(parts, bundle, host):
  """The run's state, without an optimizer."""
  key = jax.random.key(bundle.record['seed'])
  tx = optax.identity()
  host.state = first_state.initial_state(parts, tx, key)
  state = learning.relabel(host, parts.method, tx, parts.rules, parts.mesh)
  extra = {n: jax.numpy.asarray(x) for n, x in bundle.extra.items()}
  state = state.replace(
    step=jax.numpy.int32(host.step), extra=tree.unflatten(extra)
  )
  return sharding.put_state(state, parts.rules, parts.mesh)
