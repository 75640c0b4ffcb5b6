"""Opening models that are to be merged, and refusing what doesn't fit.

A model is a run of this codebase or a Hugging Face folder. All tensors get the
names and axes of one layout, that of the models; the base may be of the other.
"""

import dataclasses
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from glue_jax import tree
from glue_jax.data import hub, vocabulary
from glue_jax.merging import labels, stream
from glue_jax.models import model as models_lib
from glue_jax.models import names as names_lib
from glue_jax.weights import huggingface, huggingface_tensors, saved_model

# What each model keeps, in the names of each layout; matched from the start.
HEADS = {'native': ('head/',), 'hf': ('.*classifier.*',)}
# Fields of EncoderConfig that don't change what a finished model computes.
_TRAINING = ('dropout', 'attention_dropout', 'head_dropout', 'init_range')
# Keys of a config.json that change what is computed but no tensor's shape.
_HF_KEYS = (
  'model_type',
  'hidden_act',
  'num_attention_heads',
  'num_key_value_heads',
  'layer_norm_eps',
  'rms_norm_eps',
  'rope_theta',
  'position_embedding_type',
)


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
  """An opened model folder.

  Attributes:
    name: of the model.
    folder: the one with the weights.
    layout: 'native' (our names) or 'hf'.
    encoder: the model without head; None for a family not known here.
    weights: its tensors; Hugging Face names are the canonical ones, without
      the prefix of the encoder.
    files: {name of a tensor: its name in the file}.
    config: model.json or config.json.
    labels: names of the head's rows; None if the folder has none.
  """

  name: str
  folder: pathlib.Path
  layout: str
  encoder: Any
  weights: stream.Weights
  files: Mapping[str, str]
  config: Mapping[str, Any]
  labels: tuple[str, ...] | None


def model_names(paths: Sequence[str]) -> list[str]:
  """Returns a short name for each path: its last part that tells them apart.

  Parts that say nothing (`seed_0`, `model`) are left out where they can be. As
  masks depend on the name, it should not change with a model's company.

  Raises:
    ValueError: a path is given twice.
  """
  parts = [pathlib.Path(path).absolute().parts for path in paths]
  if len(set(parts)) < len(parts):
    raise ValueError(f'a model is given twice: {list(paths)}')
  names = [_telling(part) for part in parts]
  if len(set(names)) == len(names):
    return names
  while len(parts) > 1 and len({part[-1] for part in parts}) < len(parts):
    # runs/rte/seed_0 and runs/mrpc/seed_0 are rte and mrpc.
    same = len({part[-1] for part in parts}) == 1
    if not same:
      return [f'{i}_{part[-1]}' for i, part in enumerate(parts)]
    parts = [part[:-1] for part in parts]
  return [part[-1] for part in parts]


def _telling(parts: Sequence[str]) -> str:
  plain = [part for part in parts if not re.fullmatch(r'seed_\d+|model', part)]
  return plain[-1] if plain else parts[-1]


def open_source(path: str | os.PathLike, name: str) -> Source:
  """Opens a model: a run, its `model` folder, or a Hugging Face folder.

  Raises:
    FileNotFoundError: it is none of these, nor a name of the hub.
    ValueError: the model has parts of a method that were not merged into it, or
      a file is damaged.
  """
  path = hub.folder(path)
  record = saved_model.read_record(path)
  if record is not None:
    return _open_native(saved_model.find(path), record, name)
  folder = pathlib.Path(path)
  if not (folder / 'config.json').is_file():
    raise FileNotFoundError(
      f'{folder} is no model: expected a run with a folder model/, or a '
      f'Hugging Face folder with config.json and {huggingface_tensors.WEIGHTS}'
    )
  stored = stream.open_files(huggingface_tensors.weight_files(folder))
  raw = huggingface.read_config(folder)
  try:
    family, config, _ = huggingface.read_hf_config(folder)
    encoder = models_lib.build(family, kind='encoder', config=config)
    files = {names_lib.canonical(n, encoder): n for n in stored}
  except ValueError:  # not a model of this codebase; its names are enough
    encoder, files = None, {n: n for n in stored}
  tensors = {key: stored[file] for key, file in files.items()}
  weights = stream.Weights(name, str(folder), tensors)
  named = huggingface.labels_of(raw, folder)
  return Source(name, folder, 'hf', encoder, weights, files, raw, named)


def _open_native(folder, record, name) -> Source:
  if record['unmerged']:
    raise ValueError(
      f'{folder} is no plain model: its method added leaves that were not '
      f'merged, {record["unmerged"][:4]} ...; only plain models can be merged'
    )
  path = folder / saved_model.PARAMS
  tensors = stream.open_files([path])
  encoder = models_lib.build(
    record['family'], kind='encoder', config=_plain(record['config'])
  )
  weights = stream.Weights(name, str(path), tensors)
  files = {n: n for n in tensors}
  named = record.get('labels')
  named = None if named is None else tuple(named)
  return Source(name, folder, 'native', encoder, weights, files, record, named)


def _plain(config: Any) -> Any:
  """The config with all positions in the last block, as any head may read."""
  return dataclasses.replace(config, stack='plain')


def layout_of(source: Source, model: Any = None) -> dict[str, tuple[str, bool]]:
  """Returns {our name: (name in the source's layout, transposed there)}.

  Args:
    source: a model.
    model: module whose names are wanted; default the encoder without head.

  Raises:
    ValueError: the source is of a family that isn't known here, or whose
      folders keep several parameters in one tensor.
  """
  if source.encoder is None:
    raise ValueError(
      f'{source.folder}: a model of type {source.config.get("model_type")!r} '
      'is not known here; it can be merged with models of its own kind only, '
      'and not by methods that run it (fisher, regmean)'
    )
  model = model or source.encoder
  shapes = models_lib.shapes(model)
  if source.layout == 'native':
    return {name: (name, False) for name in shapes}
  places = names_lib.one_each(names_lib.targets(model, shapes), 'merging')
  return {
    name: (names_lib.canonical(target.name, source.encoder), target.transpose)
    for name, target in places.items()
  }


def in_layout_of(source: Source, like: Source) -> stream.Weights:
  """Returns a source's tensors under the names and axes of another's layout."""
  if source.layout == like.layout:
    return source.weights
  here, there = layout_of(source), layout_of(like)
  tensors = {}
  for name, (theirs, flipped) in there.items():
    ours, ours_flipped = here.get(name, (None, False))
    tensor = source.weights.tensors.get(ours)
    if tensor is not None:
      turn = flipped != ours_flipped
      tensors[theirs] = stream.transposed(tensor) if turn else tensor
  return dataclasses.replace(source.weights, tensors=tensors)


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
  """Models that fit together, in one layout.

  Attributes:
    base: pre-trained tensors that are merged; None without a base.
    models: the same tensors of each model.
    sources: where the models come from.
    names: of the merged tensors.
    split: whether there are tensors that each model keeps.
    notes: what was assumed, for the record of the merge.
  """

  base: stream.Weights | None
  models: tuple[stream.Weights, ...]
  sources: tuple[Source, ...]
  names: tuple[str, ...]
  split: bool
  notes: tuple[str, ...] = ()


def open_group(
  base: str | None,
  paths: Sequence[str],
  exclude: Sequence[str] | None = None,
  names: Sequence[str] | None = None,
) -> Group:
  """Opens models and checks that they can be merged.

  Args:
    base: pre-trained model, or None where no method needs it.
    paths: of the fine-tuned models, all runs or all Hugging Face folders.
    exclude: patterns of the tensors that each model keeps, matched at the start
      of the name; None = the heads.
    names: of the models; default `model_names`.

  Raises:
    ValueError, FileNotFoundError: a folder is no model, or they differ in
      architecture or vocabulary; names file and tensor.
  """
  if not paths:
    raise ValueError('there is no model to merge')
  names = names or model_names(paths)
  sources = tuple(open_source(p, n) for p, n in zip(paths, names, strict=True))
  first = sources[0]
  mixed = [s for s in sources if s.layout != first.layout]
  if mixed:
    raise ValueError(
      f'{first.folder} and {mixed[0].folder}: one is a run of this codebase, '
      'the other a Hugging Face folder; convert the run by launch.export'
    )
  patterns = HEADS[first.layout] if exclude is None else tuple(exclude)
  every = dict.fromkeys(n for s in sources for n in s.weights.tensors)
  for pattern in patterns if exclude else ():
    if not any(stream.excluded(n, [pattern]) for n in every):
      raise ValueError(
        f'--exclude={pattern!r} matches none of these names:\n  '
        + tree.listed(list(every))
      )
  start = open_source(base, 'base') if base else None
  zero = in_layout_of(start, first) if start else None
  merged = stream.shared_names([s.weights for s in sources], zero, patterns)
  split = any(stream.excluded(n, patterns) for n in every)
  for other in [*sources[1:], *([start] if start else [])]:
    _same_architecture(first, other)
    _same_vocabulary(first, other, merged)
  models, notes = zip(
    *(
      labels.matched(first, s, s.weights.select(merged), split) for s in sources
    )
  )
  if start and zero:
    zero, note = labels.matched(first, start, zero.select(merged), split)
    notes += (note,)
  notes = tuple(note for note in dict.fromkeys(notes) if note)
  return Group(zero, models, sources, tuple(merged), split, notes)


def _same_architecture(first: Source, other: Source) -> None:
  if first.encoder is not None and other.encoder is not None:
    ours, theirs = first.encoder, other.encoder
    pairs = [('family', ours.family, theirs.family)]
    for field in dataclasses.fields(ours.config):
      if field.name not in (*huggingface.RUNTIME, *_TRAINING):
        a, b = (getattr(x.config, field.name) for x in (ours, theirs))
        pairs.append((field.name, a, b))
  else:
    pairs = [(k, first.config.get(k), other.config.get(k)) for k in _HF_KEYS]
  for key, a, b in pairs:
    if a != b:
      raise ValueError(
        f'{other.folder} has {key}={b!r}, but {first.folder} has {a!r}: models '
        'of different architectures cannot be merged'
      )


def _same_vocabulary(
  first: Source, other: Source, names: Sequence[str]
) -> None:
  ours, theirs = (vocabulary.read(x.folder) for x in (first, other))
  gap = vocabulary.difference(ours, theirs) if ours and theirs else ''
  if not gap:
    return
  size = max(max(ours.values()), max(theirs.values()))
  tables = [n for n in names if first.weights.tensors[n].rows > size]
  raise ValueError(
    f'{other.folder} and {first.folder} have different vocabularies: '
    f'{gap}, so rows of tensor {(tables or names)[0]} do not mean the same'
  )
