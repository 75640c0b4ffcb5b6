"""Hugging Face folders: config.json, model.safetensors, tokenizer files.

Names and shapes are compared before any value is read: a folder either fits as
a whole or is refused with a list of the tensors that are missing (-), not
expected (+) or of another shape or type (!). Pickle files are never opened.

What an import reads and an export writes back, byte for byte: every tensor of
the encoder, the pooler and the head. Files of older libraries call LayerNorm's
weights `gamma` and `beta`; they are read, and written as `weight` and `bias`.
Left out on import, and listed in the log: `position_ids` buffers, heads of
other tasks, a pooler that the model doesn't use, and copies of tied tensors
(which must equal their originals). `save_hf(source=folder)` puts the first
three back from the folder they came from.
"""

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy
from absl import logging

from glue_jax import tree
from glue_jax.models import model as model_lib
from glue_jax.models import names
from glue_jax.models.encoder import EncoderConfig
from glue_jax.models.model import Model
from glue_jax.models.names import Target
from glue_jax.reporting.files import replace_text, whole

WEIGHTS = 'model.safetensors'
INDEX = WEIGHTS + '.index.json'
PICKLES = ('*.bin', '*.pt', '*.pth', '*.ckpt', '*.pkl')
TOKENIZER_FILES = (
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.txt',
  'vocab.json',
  'merges.txt',
  'spiece.model',
)
CASTABLE = ('F16', 'BF16', 'F64')

# Fields of EncoderConfig that don't change what is computed from the weights.
RUNTIME = ('dtype', 'remat', 'stack', 'options')


def read_hf_config(
  folder: str | os.PathLike,
) -> tuple[str, EncoderConfig, dict[str, Any]]:
  """Reads a folder's config.json.

  Returns:
    the family (file of glue_jax/models), the encoder's config, and the file's
    own content (`id2label`, `architectures`, ...).

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it isn't JSON, or of a model that isn't known here.
  """
  path = Path(folder) / 'config.json'
  if not path.is_file():
    raise FileNotFoundError(
      f'{path} not found; expected a folder with config.json and {WEIGHTS}'
    )
  try:
    raw = json.loads(path.read_text(encoding='utf-8'))
  except ValueError as error:
    raise ValueError(f'{path}: not JSON ({error})') from None
  name = str(raw.get('model_type'))
  try:
    return name, model_lib.family(name).config_from_hf(raw), raw
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from None


def load_hf(
  folder: str | os.PathLike,
  model: Model,
  new_head: bool = False,
  cast: bool = False,
) -> tuple[tree.Tree, list[str]]:
  """Reads a folder's weights.

  Args:
    folder: with config.json and model.safetensors.
    model: what the weights are for.
    new_head: leave the folder's head out even where it would fit.
    cast: accept float16, bfloat16 and float64 tensors.

  Returns:
    params: nested dict of float32 arrays, without the missing ones.
    missing: names of head and pooler parameters that the folder lacks; they
      must be initialised explicitly, see `fill_missing`.

  Raises:
    FileNotFoundError: no weights, or only pickles.
    ValueError: names, shapes or types don't fit, or the file is damaged.
  """
  folder = Path(folder)
  raw = read_hf_config(folder)[2]
  wanted = names.targets(model, model_lib.shapes(model))
  # Several tasks call their head `classifier`; another task's isn't ours.
  foreign = names.foreign_head(model, raw.get('architectures') or ())
  with contextlib.ExitStack() as files:
    found = _open(folder, files, model)
    missing = _missing_heads(wanted, found, new_head or foreign)
    used = {n: t for n, t in wanted.items() if n not in missing}
    left_out = _check(folder, used, found, cast, model)
    params = {}
    for name, target in used.items():
      value = found[target.name].read().astype(np.float32, copy=False)
      value = value.T if target.transpose else value
      params[name] = np.ascontiguousarray(value)
  logging.info('%s: %d tensors read', folder, len(params))
  if left_out:
    logging.info('%s: left out %s', folder, ', '.join(left_out))
  return tree.unflatten(params), missing


def fill_missing(
  params: tree.Tree, missing: Sequence[str], model: Model, rng: jax.Array
) -> tree.Tree:
  """Adds freshly initialised leaves for exactly the missing names.

  Raises:
    ValueError: params and missing together aren't the model's parameters.
  """
  flat, expected = tree.flatten(params), model_lib.shapes(model)
  given = flat | {name: expected[name] for name in missing if name in expected}
  gap = tree.diff(tree.unflatten(expected), tree.unflatten(given))
  unknown = sorted(set(missing) - set(expected))
  if gap or unknown:
    raise ValueError(f'not the parameters of the model: {unknown}\n{gap}')
  if not missing:
    return params
  batch = model_lib.example_batch(model)

  def fresh(rng):
    leaves = tree.flatten(model.init(rng, batch)['params'])
    return {name: leaves[name] for name in missing}

  new = jax.device_get(jax.jit(fresh)(rng))
  return tree.unflatten({name: (flat | new)[name] for name in expected})


def save_hf(
  folder: str | os.PathLike,
  model: Model,
  params: tree.Tree,
  tokenizer: Any = None,
  labels: Sequence[str] | None = None,
  source: str | os.PathLike | None = None,
) -> None:
  """Writes a folder that `transformers` loads.

  Args:
    folder: made if needed; files in it are replaced.
    model: whose parameters they are.
    params: nested dict of arrays.
    tokenizer: has `save(folder)`; None copies the files of `source`.
    labels: label names in id order.
    source: Hugging Face folder whose unused tensors, further config keys and
      tokenizer files are taken over.

  Raises:
    ValueError: the library can't express the model, or params or labels don't
      fit it.
  """
  folder = Path(folder)
  config = _hf_config(model, labels)
  wanted = names.targets(model, model_lib.shapes(model))
  flat = tree.flatten(params)
  gap = tree.diff(tree.unflatten(model_lib.shapes(model)), params)
  if gap:
    raise ValueError(f'not the parameters of the model:\n{gap}')
  tensors = {}
  for name, target in wanted.items():
    value = np.asarray(flat[name], np.float32)
    value = value.T if target.transpose else value
    # safetensors writes the buffer as it lies, so a view would be wrong.
    tensors[target.name] = np.ascontiguousarray(value)
  if source is not None:
    tensors |= _unused(Path(source), tensors, model)
    kept = read_hf_config(source)[2]
    for key in ('id2label', 'label2id', 'problem_type'):
      kept.pop(key, None)
    config = kept | config
  folder.mkdir(parents=True, exist_ok=True)
  with whole(folder / WEIGHTS) as part:
    safetensors.numpy.save_file(tensors, part, metadata={'format': 'pt'})
  text = json.dumps(config, indent=2, sort_keys=True) + '\n'
  replace_text(folder / 'config.json', text)
  if tokenizer is not None:
    tokenizer.save(folder)
  elif source is not None:
    for name in TOKENIZER_FILES:
      if (Path(source) / name).is_file():
        shutil.copy(Path(source) / name, folder / name)


@dataclasses.dataclass(frozen=True)
class _Tensor:
  """A tensor in an open file."""

  file: Any
  name: str
  shape: tuple[int, ...]
  dtype: str

  def read(self) -> np.ndarray:
    return self.file.get_tensor(self.name)


def _open(
  folder: Path, files: contextlib.ExitStack, model: Model
) -> dict[str, _Tensor]:
  """Returns {canonical name: tensor} of a folder's weights, values unread."""
  found = {}
  for path in weight_files(folder):
    try:
      file = files.enter_context(safetensors.safe_open(path, 'numpy'))
    except (safetensors.SafetensorError, OSError) as error:
      raise ValueError(
        f'{path} ({path.stat().st_size} bytes) is truncated or damaged: '
        f'{error}; fetch it again'
      ) from None
    for name in file.keys():  # noqa: SIM118 - not a mapping
      info = file.get_slice(name)
      shape, dtype = tuple(info.get_shape()), info.get_dtype()
      found[names.canonical(name, model)] = _Tensor(file, name, shape, dtype)
  return found


def weight_files(folder: Path) -> list[Path]:
  """Returns the safetensors files of a folder: one, or the index's shards.

  Raises:
    FileNotFoundError: there are none, or only pickles.
  """
  if (folder / WEIGHTS).is_file():
    return [folder / WEIGHTS]
  if (folder / INDEX).is_file():
    index = json.loads((folder / INDEX).read_text(encoding='utf-8'))
    paths = [folder / n for n in sorted(set(index['weight_map'].values()))]
    absent = [str(path) for path in paths if not path.is_file()]
    if absent:
      raise FileNotFoundError(f'{folder / INDEX} names absent files: {absent}')
    return paths
  pickles = sorted(p.name for glob in PICKLES for p in folder.glob(glob))
  if pickles:
    raise FileNotFoundError(
      f'{folder} has no {WEIGHTS}, only {pickles}. Pickle files can run any '
      'code and are never opened here. Convert it once, where PyTorch is: '
      'python -c "import torch, safetensors.torch as s; s.save_file({k: '
      "v.clone().contiguous() for k, v in torch.load('"
      f"{pickles[0]}', weights_only=True).items()}}, '{WEIGHTS}', "
      "metadata={'format': 'pt'})\""
    )
  raise FileNotFoundError(f'{folder / WEIGHTS} not found')


def _missing_heads(
  wanted: Mapping[str, Target], found: Mapping[str, _Tensor], new_head: bool
) -> list[str]:
  """Returns names under head/ and pooler/ that the folder has nothing for."""
  missing = []
  for part in ('pooler/', 'head/'):
    mine = [name for name in wanted if name.startswith(part)]
    fresh = part == 'head/' and new_head
    if fresh or not any(wanted[name].name in found for name in mine):
      missing += mine
  return missing


def _check(
  folder: Path,
  used: Mapping[str, Target],
  found: Mapping[str, _Tensor],
  cast: bool,
  model: Model,
) -> list[str]:
  """Compares names, shapes and types; returns the names that are left out.

  Raises:
    ValueError: something doesn't fit.
  """
  lines, hints = [], set()
  for name, target in used.items():
    tensor = found.get(target.name)
    if tensor is None:
      lines.append(f'- {target.name} {target.shape}')
    elif tensor.shape != target.shape:
      lines.append(
        f'! {target.name} found {tensor.shape}, expected {target.shape}'
      )
      if name.startswith('head/'):
        hints.add('new_head=True leaves the head out')
    elif tensor.dtype != 'F32' and not (cast and tensor.dtype in CASTABLE):
      lines.append(f'! {target.name} found {tensor.dtype}, expected F32')
      if tensor.dtype in CASTABLE:
        hints.add('model.cast=True converts to float32')
  extra = sorted(set(found) - {target.name for target in used.values()})
  known = names.tolerated(model)
  originals = names.originals(model)
  for name in extra:
    original = found.get(originals.get(name))
    if name not in known:
      lines.append(f'+ {name} {found[name].shape}')
    elif original and not _equal(found[name], original):
      lines.append(f'! {name} differs from {originals[name]}: not tied')
  if lines:
    raise ValueError(
      f'{folder}: the weights do not fit {model.family} ({model.kind}); '
      'nothing was loaded (- missing, + not expected, ! differs)\n'
      + '\n'.join(sorted(lines))
      + ''.join(f'\n{hint}' for hint in sorted(hints))
    )
  return extra


def _equal(a: _Tensor, b: _Tensor) -> bool:
  return a.shape == b.shape and np.array_equal(a.read(), b.read())


def _unused(
  source: Path, tensors: Mapping[str, np.ndarray], model: Model
) -> dict[str, np.ndarray]:
  """Returns the source folder's tensors that the model doesn't write."""
  with contextlib.ExitStack() as files:
    found = _open(source, files, model)
    copies = names.originals(model)
    return {
      name: tensor.read()
      for name, tensor in found.items()
      if name not in tensors and name not in copies
    }


def _hf_config(model: Model, labels: Sequence[str] | None) -> dict[str, Any]:
  """Returns the config.json of an export.

  Raises:
    ValueError: the library can't express the config, or labels don't fit.
  """
  tables = model.tables
  config = tables.config_to_hf(model.config)
  config['architectures'] = [tables.ARCHITECTURES[model.kind]]
  config['dtype'] = 'float32'
  back = tables.config_from_hf(config)
  lost = [
    f'{field}={ours!r} (would become {theirs!r})'
    for field, ours, theirs in _compare(model.config, back)
  ]
  if lost:
    raise ValueError(
      f'a Hugging Face {model.family} cannot express {", ".join(lost)}'
    )
  if model.kind in ('classification', 'regression', 'token_classification'):
    if labels is None:
      labels = [f'LABEL_{i}' for i in range(model.num_outputs)]
    if len(labels) != model.num_outputs:
      raise ValueError(
        f'{len(labels)} label names for {model.num_outputs} outputs'
      )
    config['id2label'] = {str(i): label for i, label in enumerate(labels)}
    config['label2id'] = {label: i for i, label in enumerate(labels)}
  if model.kind == 'regression':
    config['problem_type'] = 'regression'
  return config


def _compare(a: EncoderConfig, b: EncoderConfig) -> list[tuple[str, Any, Any]]:
  """Returns (field, a's, b's) where two configs compute different things."""
  attention = 'attention' in a.names('mixer')
  rows = []
  for field in dataclasses.fields(a):
    ours, theirs = getattr(a, field.name), getattr(b, field.name)
    if field.name in ('mixer', 'ffn'):
      ours, theirs = a.names(field.name), b.names(field.name)
    if field.name == 'embedding_size':
      ours, theirs = ours or a.hidden_size, theirs or b.hidden_size
    idle = field.name in ('num_heads', 'attention_dropout') and not attention
    idle |= field.name == 'special_ids' and 'ponet' not in a.names('mixer')
    idle |= field.name in RUNTIME and ours != 'reversible'
    if ours != theirs and not idle:
      rows.append((field.name, ours, theirs))
  return rows
