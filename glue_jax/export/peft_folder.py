"""Bundles in the folder form of Hugging Face's `peft`, written and read.

A folder has `adapter_config.json` and `adapter_model.safetensors`; see peft's
`save_pretrained`, version 0.21. LoRA, (IA)3, prefix and prompt tuning are the
library's own forms. It has no bottleneck adapters: for Pfeiffer's the form is
ours, with `peft_type` PFEIFFER and the tensor names of the `adapters` library,
`<layer>.output.adapters.default.adapter_{down.0,up}.{weight,bias}`; peft
refuses to load it.
"""

import inspect
import json
import os
import pathlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from glue_jax import config as config_lib
from glue_jax import tree
from glue_jax.export import bundle as bundles
from glue_jax.export.bundle_folder import Bundle, same
from glue_jax.models import model as models
from glue_jax.models import names
from glue_jax.reporting import files

CONFIG, TENSORS = 'adapter_config.json', 'adapter_model.safetensors'
# What stands before the model's own names of tensors.
_START, _START_PROMPTS = 'base_model.model.', 'base_model.'
# Keys that either are read or say nothing about what is computed.
_NEUTRAL = (
  'auto_mapping', 'base_model_name_or_path', 'encoder_hidden_size',
  'feedforward_modules', 'inference_mode', 'init_ia3_weights',
  'init_lora_weights', 'init_weights', 'lora_alpha', 'lora_dropout',
  'megatron_core', 'modules_to_save', 'non_linearity', 'num_attention_heads',
  'num_layers', 'num_transformer_submodules', 'num_virtual_tokens', 'peft_type',
  'peft_version', 'prefix_projection', 'prompt_tuning_init',
  'prompt_tuning_init_text', 'qalora_group_size', 'r', 'revision',
  'target_modules', 'task_type', 'token_dim', 'tokenizer_kwargs',
  'tokenizer_name_or_path', 'use_rslora',
)  # fmt: skip
# The library's name for what a head of ours does.
_TASK_TYPES = {
  'classification': 'SEQ_CLS',
  'regression': 'SEQ_CLS',
  'token_classification': 'TOKEN_CLS',
  'span': 'QUESTION_ANS',
}
_EMPTY = (None, False, 'none', {}, [])


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
  module = bundle.module()
  method, given = _method(bundle)
  form = _form(method)
  leaves = dict(bundle.leaves)
  kept = {n: x for n, x in leaves.items() if n.startswith(('head/', 'pooler/'))}
  own = {n: x for n, x in leaves.items() if n not in kept}
  body, settings = form.write(own, given, module)
  start = _START if form.INSIDE else _START_PROMPTS
  targets = names.targets(module, models.shapes(module))
  tensors = {}
  for name, value in kept.items():
    target = targets[name]
    tensors[start + target.name] = value.T if target.transpose else value
  modules = {
    targets[n].name.removeprefix(names.prefix(module)).partition('.')[0]
    for n in kept
  }
  config = {
    'peft_type': peft_types()[method],
    'task_type': _TASK_TYPES.get(module.kind),
    'base_model_name_or_path': bundle.record['backbone']['id'],
    'inference_mode': True,
    'modules_to_save': sorted(modules),
  }
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  tensors |= _prefixed(body, _START) if form.INSIDE else body
  flat = {n: np.ascontiguousarray(x) for n, x in tensors.items()}
  with files.whole(folder / TENSORS) as part:
    safetensors.numpy.save_file(flat, part, {'format': 'pt'})
  text = json.dumps(config | settings, indent=2, sort_keys=True) + '\n'
  files.replace_text(folder / CONFIG, text)


def read(
  folder: str | os.PathLike, module: Any
) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
  """Reads a folder of `peft`.

  Args:
    folder: with the two files.
    module: the `Model` that it is for.

  Returns:
    (method, its settings, {our leaf: array}), the head among the leaves.

  Raises:
    ValueError: no such folder, a setting or tensor that has no counterpart
      here, or one that doesn't fit the model.
  """
  folder = pathlib.Path(folder)
  try:
    config = json.loads((folder / CONFIG).read_text())
    tensors = safetensors.numpy.load_file(folder / TENSORS)
  except (OSError, ValueError, safetensors.SafetensorError) as error:
    raise ValueError(f'{folder} holds no whole adapter: {error}') from error
  known = {peft_type: name for name, peft_type in peft_types().items()}
  method = known.get(config.get('peft_type'))
  if method is None:
    raise ValueError(
      f'{folder}: peft_type={config.get("peft_type")!r}; known are '
      f'{sorted(known)}'
    )
  odd = {
    key: value
    for key, value in config.items()
    if key not in _NEUTRAL and value not in _EMPTY
  }
  if odd:
    raise ValueError(f'{folder}/{CONFIG}: nothing here does {odd}')
  form = _form(method)
  start = _START if form.INSIDE else _START_PROMPTS
  body = {n.removeprefix(start): x for n, x in tensors.items()}
  leaves = _kept_in(body, module)
  own, settings = form.read(body, config, module)
  if body:
    raise ValueError(f'{folder}/{TENSORS}: no place for {sorted(body)}')
  return method, settings, leaves | own


def peft_types() -> dict[str, str]:
  """Returns {method that has a form: its name in the library}."""
  facts = config_lib.facts('methods')
  return {name: f.peft_type for name, f in facts.items() if f.peft_type}


def _form(method) -> ModuleType:
  return config_lib.module('export.peft_forms', method, 'methods')


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
    backbone: folder of the weights it was trained on.
    task: the config's section `task`.
    output: folder of the bundle.
    tokenizer: its folder; None = that of the backbone.
    max_length: longest input in tokens; None = the task's.

  Raises:
    ValueError: see `read`; or the folder lacks a leaf that the method trains.
  """
  config = {
    'task': dict(task),
    'data': {'tokenizer': str(tokenizer or backbone), 'max_length': max_length},
    'model': {'weights': str(backbone), 'fresh': ['head/.*']},
  }
  plain = bundles.start_of(config_lib.complete(config))
  method, settings, leaves = read(folder, plain.plain.model)
  config = config_lib.complete(config | {'methods': [[method, settings]]})
  parts, other = (bundles.start_of(config, seed) for seed in (1, 2))
  flat, drawn = (bundles.on_host(p.params, p.mesh) for p in (parts, other))
  labels = tree.flatten(parts.method.labels(parts.params, {}))
  lacking = sorted(
    name
    for name, value in flat.items()
    if name not in leaves
    and (labels[name] == 'train' or not same(value, drawn[name]))
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
  methods = bundle.record['config']['methods']
  if len(methods) != 1 or methods[0][0] not in peft_types():
    raise ValueError(
      f'the bundle has the methods {[name for name, _ in methods]}; the form '
      f'of peft holds one of {sorted(peft_types())}'
    )
  name, given = methods[0]
  make = config_lib.module('methods', name, 'methods').make
  known = inspect.signature(make).parameters.values()
  defaults = {p.name: p.default for p in known if p.kind is p.KEYWORD_ONLY}
  return name, defaults | given


def _prefixed(tensors, start):
  return {start + name: value for name, value in tensors.items()}


def _kept_in(body, module) -> dict[str, np.ndarray]:
  """Takes head and pooler out of the tensors."""
  kept = {}
  for name, target in names.targets(module, models.shapes(module)).items():
    if name.startswith(('head/', 'pooler/')) and target.name in body:
      value = body.pop(target.name)
      if value.shape != target.shape:
        raise ValueError(
          f'{target.name} has the shape {value.shape}; the model has '
          f'{target.shape}'
        )
      kept[name] = value.T if target.transpose else value
  return kept
