"""A tuned model without its backbone: a folder of what the tuning changed.

`bundle.json` says which backbone it is for (id, sizes, hash), names the methods
with their settings, the task, labels and tokenizer (id, hash), and lists the
leaves. `leaves.safetensors` holds them: all that learnt, the head, and whatever
else a start from the same backbone with another seed wouldn't give. The rest is
made from the backbone again when the bundle is loaded, and its hash compared: a
loaded bundle gives the logits of the run, bit for bit, or an error.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import optax
import safetensors
import safetensors.numpy

from glue_jax import build, convert, predict, session, sharding, tree, writers
from glue_jax import config as config_lib
from glue_jax.method import Host
from glue_jax.models import model as models
from glue_jax.restore import Run

RECORD, LEAVES = 'bundle.json', 'leaves.safetensors'
FORMAT = 1

# Sections of a run's config that a prediction needs.
_SECTIONS = ('task', 'data', 'model', 'objective', 'methods')
# What belongs to the machine that the run was on, or is given when loading.
_LOCAL = {
  'data': ('data_dir', 'cache_dir', 'files', 'tokenizer'),
  'model': ('weights',),
}
# Before the names of what is neither learnt nor frozen.
_EXTRA = 'extra/'


@dataclasses.dataclass(frozen=True)
class Bundle:
  """What a bundle's folder holds, checked against itself.

  Attributes:
    record: content of bundle.json.
    leaves: {name: array}.
  """

  record: dict[str, Any]
  leaves: dict[str, np.ndarray]

  def module(self) -> Any:
    """Returns the plain model that the bundle is for, without parameters."""
    backbone, head = self.record['backbone'], self.record['head']
    fields = {k: models.freeze(v) for k, v in backbone['config'].items()}
    return models.build(
      backbone['family'],
      kind=head['kind'],
      num_outputs=head['num_outputs'],
      config=models.EncoderConfig(**fields),
    )


def write(
  workdir: str | os.PathLike,
  folder: str | os.PathLike,
  which: str | None = None,
  seed: int | None = None,
) -> Bundle:
  """Writes the bundle of a finished run.

  Args:
    workdir, which, seed: see `predict.open_run`.
    folder: made if needed.

  Raises:
    ValueError: no such run; its backbone came from no files, or nothing of it
      stayed as it was.
  """
  run = predict.open_run(workdir, which, seed)
  workdir = pathlib.Path(workdir)
  if seed is not None and list(workdir.glob('seed_*')):
    workdir = workdir / f'seed_{seed}'
  return of_run(run, build.run_config(workdir), folder)


def of_run(run: Run, config: Any, folder: str | os.PathLike) -> Bundle:
  """Writes the bundle of an open run.

  Args:
    run: its state is read.
    config: that it began with; `run.config` may have other weights.
    folder: made if needed.

  Raises:
    ValueError: see `write`.
  """
  weights = config.model.get('weights')
  if not weights:
    raise ValueError(
      'the run began from its seed, not from weights, so there is no backbone '
      'that a bundle could belong to; set config.model.weights'
    )
  start = _start(config, config.seeds[0], run.tokenizer)
  state = run.host.state
  flat = _on_host(state.all_params(), run.parts.mesh)
  given = _on_host(start.params, start.mesh)
  shared = {n: x for n, x in flat.items() if _same(x, given[n])}
  if not any(n.startswith('encoder/') for n in shared):
    raise ValueError(
      'no leaf of the backbone stayed as it was; the run is a model of its '
      'own, see launch.export'
    )
  extra = _on_host(dict(state.extra), run.parts.mesh)
  leaves = {n: x for n, x in flat.items() if n not in shared}
  leaves |= {_EXTRA + n: x for n, x in extra.items()}
  module = start.plain.model
  record = {
    'format': FORMAT,
    'backbone': _backbone(weights, module, config),
    'shared': {'count': len(shared), 'sha256': digest(shared)},
    'config': _portable(config),
    'head': {'kind': module.kind, 'num_outputs': module.num_outputs},
    'labels': list(run.task.labels or run.task.choices),
    'tokenizer': {
      'id': _id(config.data.get('tokenizer') or weights),
      'sha256': run.tokenizer.fingerprint,
    },
    'seed': config.seeds[0],
    'step': run.step,
    'variant': run.host.variant,
  }
  return save(folder, record, leaves)


def save(
  folder: str | os.PathLike,
  record: Mapping[str, Any],
  leaves: Mapping[str, Any],
) -> Bundle:
  """Writes a folder; `bundle.json` comes last, so one that has it is whole.

  Args:
    folder: made if needed.
    record: without 'leaves' and 'leaves_sha256', which are made here.
    leaves: {name: array}.
  """
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  (folder / RECORD).unlink(missing_ok=True)
  flat = {n: np.ascontiguousarray(x) for n, x in leaves.items()}
  part = folder / f'{LEAVES}.part'
  safetensors.numpy.save_file(flat, part)
  part.rename(folder / LEAVES)
  record = dict(record) | {
    'leaves': {n: [str(x.dtype), *x.shape] for n, x in sorted(flat.items())},
    'leaves_sha256': digest(flat),
  }
  text = json.dumps(config_lib.plain(record), indent=2) + '\n'
  writers.replace_text(folder / RECORD, text)
  return Bundle(json.loads(text), flat)


def read(folder: str | os.PathLike) -> Bundle:
  """Reads a bundle, without its backbone.

  Raises:
    ValueError: no bundle, another format, a damaged file, a missing or changed
      leaf, or a method that isn't known.
  """
  folder = pathlib.Path(folder)
  try:
    record = json.loads((folder / RECORD).read_text())
    leaves = safetensors.numpy.load_file(folder / LEAVES)
  except (OSError, ValueError, safetensors.SafetensorError) as error:
    raise ValueError(f'{folder} holds no whole bundle: {error}') from error
  if record.get('format') != FORMAT:
    raise ValueError(
      f'{folder}: bundle of format {record.get("format")!r}; this program '
      f'reads {FORMAT}'
    )
  kinds = {n: [str(x.dtype), *x.shape] for n, x in leaves.items()}
  lines = config_lib.changes(record['leaves'], kinds)
  if lines:
    raise ValueError(
      f'{folder}: {LEAVES} is not what {RECORD} lists (listed -> found):\n  '
      + '\n  '.join(lines)
    )
  if digest(leaves) != record['leaves_sha256']:
    raise ValueError(
      f'{folder}: the values of {LEAVES} have another hash than {RECORD} says; '
      'the file was changed or damaged'
    )
  for name, _ in record['config']['methods']:
    try:
      config_lib.module('methods', name, f'methods.{name}')
    except ValueError as error:
      raise ValueError(f'{folder}: unknown method {name!r}: {error}') from None
  return Bundle(record, leaves)


def load(
  folder: str | os.PathLike,
  backbone: str,
  tokenizer: str | None = None,
  **data: Any,
) -> Run:
  """Puts a bundle and its backbone together.

  Args:
    folder: of the bundle.
    backbone: folder of the weights.
    tokenizer: its folder; None = that of the backbone.
    **data: overrides of the config's data section; by default nothing is read.

  Returns:
    As `restore.load_run` does of the run itself.

  Raises:
    ValueError: see `read`; or another backbone, tokenizer or label map, a leaf
      that is missing or of another shape, or a hash that differs.
  """
  bundle = read(folder)
  record = bundle.record
  _check_sizes(folder, record['backbone'], backbone)
  config = config_lib.override(
    record['config'],
    {
      'model': {'weights': str(backbone)},
      'data': {'tokenizer': str(tokenizer or backbone)},
    },
  )
  config = config_lib.complete(config)
  parts = _start(config, record['seed'], **data)
  _check_start(folder, bundle, parts, config, backbone)
  flat = dict(tree.flatten(parts.params))
  flat |= {n: x for n, x in bundle.leaves.items() if not n.startswith(_EXTRA)}
  with sharding.enter(parts.mesh):
    params = tree.unflatten(flat)
    specs = sharding.param_specs(params, parts.rules, parts.mesh)
    parts.params = sharding.put(params, specs)
    host = Host(None, 1, 1, None, step=record['step'])
    host.variant = dict(record['variant'])
    host.state = _state(parts, bundle, host)
    return Run(
      config=config,
      task=parts.bundle.task,
      tokenizer=parts.bundle.tokenizer,
      bundle=parts.bundle,
      model=parts.plain.model,
      params=session.exported(parts, host.state),
      predict_fn=session.predict_fn(parts, host.state, host.variant),
      step=host.step,
      parts=parts,
      host=host,
    )


def digest(leaves: Mapping[str, Any]) -> str:
  """Returns the SHA-256 of names, types, shapes and values, sorted by name."""
  found = hashlib.sha256()
  for name, value in sorted(leaves.items()):
    value = np.ascontiguousarray(value)
    found.update(f'{name} {value.dtype} {value.shape}\n'.encode())
    found.update(value.tobytes())
  return found.hexdigest()


def _start(config, seed, tokenizer=None, **data) -> build.Parts:
  """The run's beginning with another seed, without training data."""
  data = {'train_split': '', 'eval_splits': ()} | data
  if tokenizer is not None:
    data['tokenizer'] = tokenizer
  return build.build(config, seed + 1, total_steps=lambda _: 1, **data)


def _backbone(weights, module, config) -> dict[str, Any]:
  sizes = build.read_sizes(weights)
  return {
    'id': _id(weights),
    'family': sizes['name'],
    'config': dataclasses.asdict(sizes['config']),
    'sha256': _weights_digest(weights, module, config),
  }


def _weights_digest(weights, module, config) -> str:
  """The hash of the encoder's leaves in a source, whatever its form."""
  cast = config.model.get('cast', False)
  params = build.read_params(weights, module, new_head=True, cast=cast)
  flat = tree.flatten(params)
  return digest({n: x for n, x in flat.items() if n.startswith('encoder/')})


def _portable(config) -> dict[str, Any]:
  sections = {key: config_lib.plain(config[key]) for key in _SECTIONS}
  for section, keys in _LOCAL.items():
    for key in keys:
      sections[section].pop(key, None)
  return sections


def _id(source) -> str:
  return pathlib.Path(str(source)).name


def _on_host(params, mesh) -> dict[str, np.ndarray]:
  flat = tree.flatten(sharding.gather(params, mesh)) if params else {}
  return {name: np.asarray(value) for name, value in flat.items()}


def _same(a, b) -> bool:
  kinds = (a.shape, a.dtype) == (b.shape, b.dtype)
  return kinds and a.tobytes() == b.tobytes()


def _check_sizes(folder, wanted, backbone):
  """Refuses a backbone of another family or other sizes."""
  found = build.read_sizes(backbone)
  fields = lambda config: {
    key: value
    for key, value in config_lib.plain(config).items()
    if key not in convert.RUNTIME
  }
  lines = config_lib.changes(
    {'family': wanted['family']} | fields(wanted['config']),
    {'family': found['name']} | fields(dataclasses.asdict(found['config'])),
  )
  if lines:
    raise ValueError(
      f'{folder} is a bundle for another backbone, {wanted["id"]!r}, than '
      f'{backbone} (bundle -> found):\n  ' + '\n  '.join(lines)
    )


def _check_start(folder, bundle, parts, config, backbone):
  """Compares all that is not in the bundle with what it was written from."""
  record = bundle.record
  found = _weights_digest(backbone, parts.plain.model, config)
  if found != record['backbone']['sha256']:
    raise ValueError(
      f'{folder} belongs to the backbone {record["backbone"]["id"]!r} with the '
      f'hash {record["backbone"]["sha256"][:12]}...; {backbone} has the same '
      f'sizes but other values ({found[:12]}...)'
    )
  if parts.bundle.tokenizer.fingerprint != record['tokenizer']['sha256']:
    raise ValueError(
      f'{folder} was trained with the tokenizer {record["tokenizer"]["id"]!r}, '
      f'which {config.data.tokenizer} is not (its hash differs); give the '
      'folder of that tokenizer'
    )
  task = parts.bundle.task
  labels = list(task.labels or task.choices)
  if labels != record['labels']:
    raise ValueError(
      f'{folder}: the labels of {task.name} are {labels}, the bundle was '
      f'trained with {record["labels"]}'
    )
  flat = _on_host(parts.params, parts.mesh)
  own = {n: x for n, x in bundle.leaves.items() if not n.startswith(_EXTRA)}
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


def _state(parts, bundle, host):
  """The run's state, without an optimizer."""
  key = jax.random.key(bundle.record['seed'])
  tx = optax.identity()
  host.state = session.initial_state(parts, tx, key)
  state = session.relabel(parts, host, tx)
  extra = {
    n.removeprefix(_EXTRA): jax.numpy.asarray(x)
    for n, x in bundle.leaves.items()
    if n.startswith(_EXTRA)
  }
  state = state.replace(
    step=jax.numpy.int32(host.step), extra=tree.unflatten(extra)
  )
  return sharding.put_state(state, parts.rules, parts.mesh)
