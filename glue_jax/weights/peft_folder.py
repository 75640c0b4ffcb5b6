"""Folders of Hugging Face's `peft`, read.

A folder has `adapter_config.json` and `adapter_model.safetensors`; see peft's
`save_pretrained`, version 0.21. LoRA, (IA)3, prefix and prompt tuning are the
library's own forms. It has no bottleneck adapters: for Pfeiffer's the form is
ours, with `peft_type` PFEIFFER and the tensor names of the `adapters` library,
`<layer>.output.adapters.default.adapter_{down.0,up}.{weight,bias}`; peft
refuses to load it.

Each setting is honoured, known to say nothing about what is computed, or
refused by its name; and each tensor that the settings ask for must be there.
"""

import os
import pathlib
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from glue_jax.config import config as config_lib
from glue_jax.config import ranges
from glue_jax.data.readers import json_text
from glue_jax.models import names
from glue_jax.weights.peft_forms import layers, module_names

CONFIG, TENSORS = 'adapter_config.json', 'adapter_model.safetensors'
_PICKLE = 'adapter_model.bin'
# What stands before the model's own names of tensors.
START, START_PROMPTS = 'base_model.model.', 'base_model.'
# Settings of every form: those that are honoured, and those that say nothing
# about what is computed.
KEYS: dict[str, tuple[Any, Any]] = {
  'modules_to_save': (Sequence[str] | None, None),
  'peft_type': (str, None),
}
NEUTRAL = (
  'auto_mapping', 'base_model_name_or_path', 'inference_mode', 'peft_version',
  'revision', 'task_type',
)  # fmt: skip
# What turns a setting off.
_OFF = (None, False, 'none', {}, [])


def read(
  folder: str | os.PathLike, module: Any
) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
  """Reads a folder of `peft`.

  Args:
    folder: with the two files.
    module: the `Model` that it is for.

  Returns:
    (method, its settings, {our leaf: array in float32}), whatever was trained
    whole among the leaves, the head too if the folder has it.

  Raises:
    ValueError: no such folder, a setting or tensor that has no counterpart
      here or doesn't fit the model, a tensor that is missing or not finite.
  """
  config, tensors = _files(pathlib.Path(folder))
  try:
    method = _method(config)
    form = form_of(method)
    config = _settings(config, form)
    body, bare = _body(tensors, form, module)
    whole = _whole(body, config, module)
    own, settings = form.read(body, config, module, bare)
    if body:
      raise ValueError(
        f'no place for the tensors {sorted(body)}, which no setting asks for'
      )
  except ValueError as error:
    raise ValueError(f'{folder}: {error}') from None
  if 'also' in settings:
    outside = {n.rpartition('/')[0] for n in whole if not n.startswith('head/')}
    settings['also'] += [f'{site}/.*' for site in sorted(outside)]
  return method, settings, whole | own


def peft_types() -> dict[str, str]:
  """Returns {method that has a form: its name in the library}."""
  facts = config_lib.facts('methods')
  return {name: f.peft_type for name, f in facts.items() if f.peft_type}


def form_of(method: str) -> ModuleType:
  """Returns the file of a method's form."""
  return config_lib.module('weights.peft_forms', method, 'methods')


def _files(folder) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
  """The settings as they stand there, and the tensors."""
  if (folder / _PICKLE).is_file() and not (folder / TENSORS).is_file():
    raise ValueError(
      f'{folder} has {_PICKLE}, a pickle, which could run any code; load it in '
      f'peft and save it with safe_serialization=True, as {TENSORS}'
    )
  try:
    text = (folder / CONFIG).read_text(encoding='utf-8')
    config = json_text.loads(text)
    tensors = safetensors.numpy.load_file(folder / TENSORS)
  except (OSError, ValueError, safetensors.SafetensorError) as error:
    raise ValueError(f'{folder} holds no whole adapter: {error}') from error
  if not isinstance(config, dict):
    raise ValueError(f'{folder}/{CONFIG}: expected a dict of settings')
  return config, tensors


def _method(config: Mapping[str, Any]) -> str:
  known = {peft_type: name for name, peft_type in peft_types().items()}
  method = known.get(config.get('peft_type', ''))
  if method is None:
    raise ValueError(
      f'peft_type={config.get("peft_type")!r}; known are {sorted(known)}'
    )
  return method


def _settings(config: Mapping[str, Any], form: ModuleType) -> dict[str, Any]:
  """The honoured settings, with the library's defaults, checked."""
  keys = KEYS | form.KEYS
  odd = {
    key: value
    for key, value in config.items()
    if key not in {*keys, *NEUTRAL, *form.NEUTRAL} and value not in _OFF
  }
  if odd:
    raise ValueError(f'{CONFIG}: nothing here does {odd}')
  settings = {key: config.get(key, usual) for key, (_, usual) in keys.items()}
  for key, (hint, _) in keys.items():
    ranges.check(settings[key], hint, f'{CONFIG}: {key}')
  return settings


def _body(
  tensors: Mapping[str, np.ndarray], form: ModuleType, module: Any
) -> tuple[dict[str, np.ndarray], bool]:
  """The tensors by their names in a model with a head, and whether it had none.

  With bias='all' the library also saves the unused original of a module that it
  saves whole, and that module's bias a second time.
  """
  start = START if form.INSIDE else START_PROMPTS
  stripped = {}
  for name, value in sorted(tensors.items()):
    if not np.isfinite(value.astype(np.float32)).all():
      raise ValueError(f'{name} holds numbers that are not finite')
    name = name.removeprefix(start)
    if '.original_module.' in name or '.modules_to_save.' in name:
      continue
    name = name.replace('.base_layer.', '.')
    name = name.replace('lora_magnitude_vector.weight', 'lora_magnitude_vector')
    stripped[name] = value.astype(np.float32)
  body = {names.canonical(n, module): x for n, x in stripped.items()}
  inside = names.prefix(module)
  # Only a bare encoder's names gain what stands before those inside of it.
  bare = any(n.startswith(inside) for n in body.keys() - stripped.keys())
  return body, bare and form.INSIDE


def _whole(
  body: dict[str, np.ndarray], config: Mapping[str, Any], module: Any
) -> dict[str, np.ndarray]:
  """Takes the head and the modules that are saved whole out of the tensors."""
  kept, ends = {}, config['modules_to_save']
  for leaf, target in layers.leaves(module).items():
    head = leaf.startswith('head/')
    saved = module_names.saved(ends, target.name)
    # The head may be missing: in a converted folder, or of a bare encoder.
    if saved and not head and target.name not in body:
      raise ValueError(
        f'{target.name} is missing; modules_to_save={ends} asks for it'
      )
    # Older versions save the head without saying so.
    if target.name in body and (saved or head):
      value = body.pop(target.name)
      if value.shape != target.shape:
        raise ValueError(
          f'{target.name} has the shape {value.shape}; the model has '
          f'{target.shape}'
        )
      kept[leaf] = value.T if target.transpose else value
  return kept
