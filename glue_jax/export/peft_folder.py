"""Bundles in the folder form of Hugging Face's `peft`, and bundles of it.

See glue_jax/weights/peft_folder.py for what a folder holds and how it is read.
"""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy

from glue_jax.config import config as config_lib
from glue_jax.data import hub
from glue_jax.export import bundle as bundles
from glue_jax.models import names
from glue_jax.reporting import files
from glue_jax.weights import peft_folder
from glue_jax.weights.bundle_folder import Bundle, same
from glue_jax.weights.peft_folder import CONFIG, START, START_PROMPTS, TENSORS
from glue_jax.weights.peft_forms import layers

# The library's name for what a head of ours does.
_TASK_TYPES = {
  'classification': 'SEQ_CLS',
  'regression': 'SEQ_CLS',
  'token_classification': 'TOKEN_CLS',
  'span': 'QUESTION_ANS',
}


def write(folder: str | os.PathLike, bundle: Bundle) -> None:
  """Writes a bundle as a folder of `peft`.

  Args:
    folder: made if needed.
    bundle: of one method.

  Raises:
    ValueError: a method, or a setting of it, that the form can't express.
  """
  grown = bundle.record['config']['model'].get('grow_positions')
  if grown:
    raise ValueError(
      f'the form of peft has no place for model.grow_positions={grown}, '
      'without which the adapter is for another model; export the model whole'
    )
  module = bundles.plain_model(bundle)
  method, given = _method(bundle)
  form = peft_folder.form_of(method)
  start = START if form.INSIDE else START_PROMPTS
  whole = _whole(bundle.leaves, module)
  own = {n: x for n, x in bundle.leaves.items() if n not in whole}
  body, settings = form.write(own, given, module)
  tensors = {(START + n if form.INSIDE else n): x for n, x in body.items()}
  modules = set()
  for name, target in whole.items():
    value = bundle.leaves[name]
    tensors[start + target.name] = value.T if target.transpose else value
    modules.add(_saved_module(name, target.name, module))
  config = {
    'peft_type': peft_folder.peft_types()[method],
    'task_type': _TASK_TYPES.get(module.kind),
    'base_model_name_or_path': bundle.record['backbone']['id'],
    'inference_mode': True,
    'modules_to_save': sorted(modules),
  }
  if bundle.record['backbone'].get('commit'):
    config['revision'] = bundle.record['backbone']['commit']
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  flat = {n: np.ascontiguousarray(x) for n, x in tensors.items()}
  with files.whole(folder / TENSORS) as part:
    safetensors.numpy.save_file(flat, part, {'format': 'pt'})
  text = json.dumps(config | settings, indent=2, sort_keys=True) + '\n'
  files.replace_text(folder / CONFIG, text)


def to_bundle(
  folder: str | os.PathLike,
  backbone: str,
  task: Mapping[str, Any],
  output: str | os.PathLike,
  tokenizer: str | None = None,
  max_length: int | None = None,
) -> Bundle:
  """Makes a bundle of a folder of `peft`, which knows no task and no labels.

  Args:
    folder: with the two files.
    backbone: weights it was trained on: their folder, or name on the hub.
    task: the config's section `task`.
    output: folder of the bundle.
    tokenizer: its folder; None = that of the backbone.
    max_length: longest input in tokens; None = the task's.

  Raises:
    ValueError: see `peft_folder.read`; or the folder lacks a leaf that the
      method trains.
  """
  backbone = hub.pinned(backbone)
  config = {
    'task': dict(task),
    'data': {'tokenizer': str(tokenizer or backbone), 'max_length': max_length},
    'model': {'weights': str(backbone), 'fresh': ['head/.*']},
  }
  plain = bundles.start_of(config_lib.complete(config))
  method, settings, leaves = peft_folder.read(folder, plain.plain.model)
  config = config_lib.complete(config | {'methods': [[method, settings]]})
  parts, other = (bundles.start_of(config, seed) for seed in (1, 2))
  flat, drawn = (bundles.on_host(p.params, p.mesh) for p in (parts, other))
  learns = parts.method.learns(flat, {})
  lacking = sorted(
    name
    for name, value in flat.items()
    if name not in leaves and (name in learns or not same(value, drawn[name]))
  )
  if lacking:
    raise ValueError(
      f'{folder} and {backbone} lack {lacking}, which would be left as drawn '
      'at random'
    )
  record = {'seed': 0, 'step': 0, 'variant': {}}
  tokens = parts.bundle.tokenizer
  return bundles.of_leaves(flat | leaves, {}, record, config, tokens, output)


def _method(bundle) -> tuple[str, dict[str, Any]]:
  """The bundle's one method, and all its settings."""
  methods, known = bundle.record['config']['methods'], peft_folder.peft_types()
  if len(methods) != 1 or methods[0][0] not in known:
    raise ValueError(
      f'the bundle has the methods {[name for name, _ in methods]}; the form '
      f'of peft holds one of {sorted(known)}'
    )
  name, given = methods[0]
  return name, config_lib.settings(name, given)


def _whole(leaves: Mapping[str, Any], module: Any) -> dict[str, names.Target]:
  """{leaf: its place} of the model's own modules of which all leaves learn."""
  targets = layers.leaves(module)
  parts: dict[str, set[str]] = {}
  for name in targets:
    parts.setdefault(name.rpartition('/')[0], set()).add(name)
  return {
    name: targets[name]
    for site, inside in parts.items()
    for name in inside
    if inside <= leaves.keys() or (site.startswith('head') and name in leaves)
  }


def _saved_module(leaf: str, tensor: str, module: Any) -> str:
  """The name of the module that is saved whole for a tensor."""
  if leaf.startswith(('head/', 'pooler/')):
    return tensor.removeprefix(names.prefix(module)).partition('.')[0]
  return tensor.rpartition('.')[0]
