"""Names of parameters in Hugging Face files, from the tables of a family."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from glue_jax.layers.kinds import WORDS

# Constant buffers that files of older libraries hold.
BUFFERS = ('embeddings.position_ids', 'embeddings.token_type_ids')


class Target(NamedTuple):
  """Where a parameter lies in a Hugging Face file.

  Attributes:
    name: tensor name.
    shape: the tensor's shape there.
    transpose: whether it is our kernel transposed.
  """

  name: str
  shape: tuple[int, ...]
  transpose: bool


def targets(model: Any, shapes: Mapping[str, Any]) -> dict[str, Target]:
  """Returns {parameter name: its place in a Hugging Face file}.

  Args:
    model: a `Model`.
    shapes: {parameter name: its shape and type}, from `models.model.shapes`.

  Raises:
    ValueError: a parameter has no name there.
  """
  tables = model.tables
  start = prefix(model)
  table = {ours: start + theirs for ours, theirs in tables.NAMES.items()}
  table |= tables.HEAD_NAMES.get(model.kind, {})
  places, nameless = {}, []
  for name, leaf in shapes.items():
    layer = re.search(r'layer_(\d+)', name)
    whole = re.sub(r'layer_\d+', 'layer_{i}', name)
    key, _, last = whole.rpartition('/')
    if whole in table:  # a parameter of the module itself, not of a part of it
      theirs = table[whole].replace('{i}', layer[1] if layer else '')
      places[name] = Target(theirs, leaf.shape, False)
      continue
    if key not in table:
      nameless.append(name)
      continue
    theirs = table[key].replace('{i}', layer[1] if layer else '')
    kernel = last == 'kernel'
    shape = leaf.shape[::-1] if kernel else leaf.shape
    suffix = 'bias' if last == 'bias' else 'weight'
    places[name] = Target(f'{theirs}.{suffix}', shape, kernel)
  if nameless:
    raise ValueError(
      f'a Hugging Face {model.family} has no place for '
      + ', '.join(sorted(nameless))
    )
  return places


def prefix(model: Any) -> str:
  """Returns what stands before encoder tensors: '' in a bare encoder."""
  start = model.tables.PREFIX + '.'
  return '' if model.kind == 'encoder' else start


def canonical(name: str, model: Any) -> str:
  """Returns the name that today's library would write for this model."""
  name = re.sub(r'(LayerNorm|layer_norm)\.gamma$', r'\1.weight', name)
  name = re.sub(r'(LayerNorm|layer_norm)\.beta$', r'\1.bias', name)
  start = model.tables.PREFIX + '.'
  if name.startswith(start):
    return prefix(model) + name.removeprefix(start)
  if re.match(r'(embeddings|embeddings_project|encoder|pooler)\.', name):
    return prefix(model) + name
  return name


def originals(model: Any) -> dict[str, str]:
  """Returns {copy: original} of tied tensors that a file may hold twice."""
  if model.kind not in WORDS:
    return {}
  return dict(model.tables.TIED)


def tolerated(model: Any) -> set[str]:
  """Returns names that may lie in a file without a use in this model."""
  tables = model.tables
  modules = {n for table in tables.HEAD_NAMES.values() for n in table.values()}
  modules |= {*tables.OTHER_HEADS, prefix(model) + 'pooler.dense'}
  names = {f'{m}.{leaf}' for m in modules for leaf in ('weight', 'bias')}
  return names | set(tables.TIED) | {prefix(model) + b for b in BUFFERS}


def foreign_head(model: Any, architectures: Iterable[str]) -> bool:
  """Whether a file's head is another task's, under the names of ours."""
  tables, architectures = model.tables, set(architectures)
  kinds = {model.kind}
  if model.kind == 'mlm':  # its head is a part of that one
    kinds.add('sentence_structure')
  if architectures & {tables.ARCHITECTURES[kind] for kind in kinds}:
    return False
  mine = set(tables.HEAD_NAMES.get(model.kind, {}).values())
  return any(
    tables.ARCHITECTURES[kind] in architectures and mine & set(table.values())
    for kind, table in tables.HEAD_NAMES.items()
  )
