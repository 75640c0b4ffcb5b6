"""Hugging Face folders: config.json, model.safetensors, tokenizer files.

Wherever one is read, a GGUF file, or a folder with one, is too (gguf.py).

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
from absl import logging

from glue_jax import tree
from glue_jax.data import label_names, tokenizer_files
from glue_jax.data.readers import gguf
from glue_jax.data.tokenizers import settings
from glue_jax.layers.kinds import WORDS
from glue_jax.layers.spec import EncoderConfig
from glue_jax.models import model as models
from glue_jax.models import names
from glue_jax.models.model import Model
from glue_jax.reporting.files import replace_text, whole
from glue_jax.weights import gguf as of_gguf
from glue_jax.weights import safetensors_file
from glue_jax.weights.huggingface_tensors import (
  WEIGHTS,
  check,
  missing_heads,
  open_tensors,
  unused,
)

CONFIG = 'config.json'
# Fields of EncoderConfig that don't change what is computed from the weights.
RUNTIME = ('dtype', 'remat', 'stack', 'options')
# But for these stacks.
_OTHER_STACKS = ('reversible', 'mask_decoder')
# Of several kinds with one architecture, by `problem_type` in config.json.
_PROBLEMS = {
  'regression': 'regression',
  'single_label_classification': 'classification',
  'multi_label_classification': 'multilabel',
}
_HEADLESS = ('encoder', *WORDS, 'replaced_tokens')
_OF_ATTENTION = ('num_heads', 'num_kv_heads', 'head_dim', 'attention_dropout')
# Keys that only some heads of a family obey ('': of every one): what is done
# here. Other heads load whatever they say.
_OF_HEADS = (
  ('', 'tie_word_embeddings', True, ('mlm', 'sentence_structure')),
  ('electra', 'summary_type', 'first', ('multiple_choice',)),
  ('electra', 'summary_use_proj', True, ('multiple_choice',)),
  ('electra', 'summary_activation', 'gelu', ('multiple_choice',)),
)


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
  path, raw = Path(folder) / CONFIG, read_config(folder)
  name = _family(raw)
  try:
    return name, models.family(name).config_from_hf(raw), raw
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from None


def read_config(folder: str | os.PathLike) -> dict[str, Any]:
  """Reads a folder's config.json as it stands there; of a GGUF file, its like.

  Raises:
    FileNotFoundError, ValueError: there is none; it holds no JSON object.
  """
  file = gguf.find(folder)
  if file:
    return of_gguf.config(file)
  path = Path(folder) / CONFIG
  if not path.is_file():
    raise FileNotFoundError(
      f'{path} not found; expected a folder with config.json and {WEIGHTS}, or '
      'a GGUF file'
    )
  return settings.load(path)


def _family(raw: Mapping[str, Any]) -> str:
  """The file of glue_jax/models that a config.json belongs to."""
  return str(raw.get('model_type')).replace('-', '_')


def labels_of(
  raw: Mapping[str, Any], where: str | os.PathLike
) -> tuple[str, ...] | None:
  """Returns the label names of a head in the order of its rows.

  Args:
    raw: content of config.json; without `id2label` the answer is None.
    where: the folder, for the message.

  Raises:
    ValueError: the ids aren't 0, 1, ..., or `label2id` has others.
  """
  named = raw.get('id2label')
  if not named:
    return None
  try:
    ids = {int(i): str(name) for i, name in named.items()}
    labels = tuple(ids[i] for i in range(len(ids)))
  except (AttributeError, KeyError, ValueError):
    raise ValueError(
      f'{where}/{CONFIG}: id2label={named!r}; expected a name for each of the '
      'ids 0, 1, ...'
    ) from None
  twice = sorted({name for name in labels if labels.count(name) > 1})
  if twice:
    raise ValueError(
      f'{where}/{CONFIG}: id2label gives {twice[0]!r} to several ids; expected '
      'a name of its own for each'
    )
  label_names.check_ids(labels, raw.get('label2id'), f'{where}/{CONFIG}')
  return labels


def head_of(
  raw: Mapping[str, Any], where: str | os.PathLike
) -> tuple[str, tuple[str, ...]]:
  """Returns the kind of task and the labels that a Hugging Face head is for.

  Args:
    raw: content of config.json.
    where: the folder, for messages.

  Returns:
    (kind of task, labels), ('encoder', ()) where the architecture has no head
    of a task. Without names the labels are LABEL_0, ..., two where the file
    says nothing, as in `transformers`.

  Raises:
    ValueError: `id2label` or `problem_type` aren't what the library writes.
  """
  table = models.family(_family(raw)).ARCHITECTURES
  given = raw.get('architectures') or ()
  kinds = [kind for kind, name in table.items() if name in given]
  if not set(kinds) - set(_HEADLESS):
    return 'encoder', ()
  kind = next(kind for kind in kinds if kind not in _HEADLESS)
  if kind in ('span', 'multiple_choice'):
    return kind, ()
  names = labels_of(raw, where)
  names = names or tuple(f'LABEL_{i}' for i in range(raw.get('num_labels', 2)))
  if kind == 'token_classification':
    return kind, names
  problem = raw.get('problem_type')
  if problem is None:
    kind = 'regression' if len(names) == 1 else 'classification'
  elif problem in _PROBLEMS:
    kind = _PROBLEMS[problem]
  else:
    raise ValueError(
      f'{where}: problem_type={problem!r}; expected one of {sorted(_PROBLEMS)}'
    )
  return kind, () if kind == 'regression' else names


def load_hf(
  folder: str | os.PathLike,
  model: Model,
  new_head: bool = False,
  cast: bool = False,
  unread: bool = False,
) -> tuple[tree.Tree, list[str]]:
  """Reads a folder's weights.

  Args:
    folder: with config.json and model.safetensors.
    model: what the weights are for.
    new_head: leave the folder's head out even where it would fit.
    cast: accept float16, bfloat16 and float64 tensors.
    unread: leave the values in the files (`tree.Unread`), but for the head's:
      of a folder that is larger than memory.

  Returns:
    params: nested dict of float32 arrays, without the missing ones.
    missing: names of head and pooler parameters that the folder lacks; they
      must be initialised explicitly, see `fill_missing`.

  Raises:
    FileNotFoundError: no weights, or only pickles.
    ValueError: names, shapes or types don't fit, the file is damaged, or its
      config asks of this head what isn't done here.
  """
  folder = Path(folder)
  raw = read_hf_config(folder)[2]
  _check_head(folder, raw, model)
  shapes = models.shapes(model)
  wanted = names.targets(model, shapes)
  # Several tasks call their head `classifier`; another task's isn't ours.
  foreign = names.foreign_head(model, raw.get('architectures') or ())
  with contextlib.ExitStack() as files:
    tensors = open_tensors(folder, files, model)
    missing = missing_heads(wanted, tensors, new_head or foreign)
    used = {n: t for n, t in wanted.items() if n not in missing}
    left_out = check(folder, used, tensors, cast, model)
    params = {}
    for name, target in used.items():
      later = unread and not name.startswith('head/')
      params[name] = tensors[target.name].parameter(target, shapes[name], later)
  logging.info('%s: %d tensors read', folder, len(params))
  if left_out:
    logging.info('%s: left out %s', folder, ', '.join(left_out))
  return tree.unflatten(params), missing


def _check_head(folder: Path, raw: Mapping[str, Any], model: Model) -> None:
  for family, key, done, kinds in _OF_HEADS:
    obeyed = model.kind in kinds and family in ('', model.family)
    if obeyed and raw.get(key, done) != done:
      raise ValueError(
        f'{folder / CONFIG}: {key}={raw[key]!r}, but the head of {model.kind} '
        f'here only does {done!r}'
      )


def fill_missing(
  params: tree.Tree, missing: Sequence[str], model: Model, rng: jax.Array
) -> tree.Tree:
  """Adds freshly initialised leaves for exactly the missing names.

  Raises:
    ValueError: params and missing together aren't the model's parameters.
  """
  flat, expected = tree.flatten(params), models.shapes(model)
  given = flat | {name: expected[name] for name in missing if name in expected}
  gap = tree.diff(tree.unflatten(expected), tree.unflatten(given))
  unknown = sorted(set(missing) - set(expected))
  if gap or unknown:
    raise ValueError(f'not the parameters of the model: {unknown}\n{gap}')
  if not missing:
    return params
  batch = models.example_batch(model)

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
  further: Mapping[str, Any] | None = None,
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
    further: keys of config.json that the model's own don't have.

  Raises:
    ValueError: the library can't express the model, or params or labels don't
      fit it.
  """
  folder = Path(folder)
  config = dict(further or {}) | _hf_config(model, labels)
  wanted = names.targets(model, models.shapes(model))
  flat = tree.flatten(params)
  gap = tree.diff(tree.unflatten(models.shapes(model)), params)
  if gap:
    raise ValueError(f'not the parameters of the model:\n{gap}')
  tensors: dict[str, Any] = dict(names.tensors(wanted, flat))
  if source is not None:
    tensors |= unused(Path(source), tensors, model)
    kept = read_hf_config(source)[2]
    for key in ('id2label', 'label2id', 'problem_type'):
      kept.pop(key, None)
    # Heads that were put back as they were stay untied if they were.
    config = (
      kept
      | config
      | {'tie_word_embeddings': kept.get('tie_word_embeddings', True)}
    )
  folder.mkdir(parents=True, exist_ok=True)
  with whole(folder / WEIGHTS) as part:
    safetensors_file.write(part, tensors, metadata={'format': 'pt'})
  text = json.dumps(config, indent=2, sort_keys=True) + '\n'
  replace_text(folder / CONFIG, text)
  if tokenizer is not None:
    tokenizer.save(folder)
  elif source is not None:
    for name in tokenizer_files.FILES:
      if (Path(source) / name).is_file():
        shutil.copy(Path(source) / name, folder / name)


def _hf_config(model: Model, labels: Sequence[str] | None) -> dict[str, Any]:
  """Returns the config.json of an export.

  Raises:
    ValueError: the library can't express the config, or labels don't fit.
  """
  tables = model.tables
  if model.kind not in tables.ARCHITECTURES:
    raise ValueError(
      f'a Hugging Face {model.family} has no head of kind {model.kind}; there '
      f'are {sorted(tables.ARCHITECTURES)}'
    )
  config = tables.config_to_hf(model.config)
  config['architectures'] = [tables.ARCHITECTURES[model.kind]]
  config['dtype'] = 'float32'
  back = tables.config_from_hf(config)
  lost = [
    f'{field}={ours!r} (would become {theirs!r})'
    for field, ours, theirs in differences(model.config, back)
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


def differences(
  a: EncoderConfig, b: EncoderConfig
) -> list[tuple[str, Any, Any]]:
  """Returns (field, a's, b's) where two configs compute different things."""
  attention = set(a.names('mixer')) & {'attention', 'disentangled'}
  rows = []
  for field in dataclasses.fields(a):
    ours, theirs = getattr(a, field.name), getattr(b, field.name)
    if field.name in ('mixer', 'ffn'):
      ours, theirs = a.names(field.name), b.names(field.name)
    if field.name == 'decoder':
      ours, theirs = (
        sorted((k, v) for k, v in x.decoder if v != getattr(x, k))
        for x in (a, b)
      )
    if field.name == 'embedding_size':
      ours, theirs = ours or a.hidden_size, theirs or b.hidden_size
    if field.name == 'num_kv_heads':
      ours, theirs = ours or a.num_heads, theirs or b.num_heads
    if field.name == 'head_dim':
      ours, theirs = a.head_width, b.head_width
    idle = field.name in _OF_ATTENTION and not attention
    idle |= field.name == 'special_ids' and 'ponet' not in a.names('mixer')
    idle |= field.name in RUNTIME and ours not in _OTHER_STACKS
    if ours != theirs and not idle:
      rows.append((field.name, ours, theirs))
  return rows
