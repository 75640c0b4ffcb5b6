"""Names of parameters in Hugging Face files, from the tables of a family."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from glue_jax.models.model import Model, family, shapes

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


def targets(model: Model) -> dict[str, Target]:
  """Returns {parameter name: its place in a Hugging Face file}.

  Raises:
    ValueError: a parameter has no name there.
  """
  tables = family(model.family)
  start = prefix(model)
  table = {ours: start + theirs for ours, theirs in tables.NAMES.items()}
  table |= tables.HEAD_NAMES.get(model.kind, {})
  found, nameless = {}, []
  for name, leaf in shapes(model).items():
    module, _, last = name.rpartition('/')
    layer = re.search(r'layer_(\d+)', module)
    key = re.sub(r'layer_\d+', 'layer_{i}', module)
    if key not in table:
      nameless.append(name)
      continue
    theirs = table[key].replace('{i}', layer[1] if layer else '')
    kernel = last == 'kernel'
    shape = leaf.shape[::-1] if kernel else leaf.shape
    suffix = 'bias' if last == 'bias' else 'weight'
    found[name] = Target(f'{theirs}.{suffix}', shape, kernel)
  if nameless:
    raise ValueError(
      f'a Hugging Face {model.family} has no place for '
      + ', '.join(sorted(nameless))
    )
  return found


def prefix(model: Model) -> str:
  """Returns what stands before encoder tensors: '' in a bare encoder."""
  start = family(model.family).PREFIX + '.'
  return '' if model.kind == 'encoder' else start


def canonical(name: str, model: Model) -> str:
  """Returns the name that today's library would write for this model."""
  name = re.sub(r'(LayerNorm|layer_norm)\.gamma$', r'\1.weight', name)
  name = re.sub(r'(LayerNorm|layer_norm)\.beta$', r'\1.bias', name)
  start = family(model.family).PREFIX + '.'
  if name.startswith(start):
    return prefix(model) + name.removeprefix(start)
  if re.match(r'(embeddings|embeddings_project|encoder|pooler)\.', name):
    return prefix(model) + name
  return name


def originals(model: Model) -> dict[str, str]:
  """Returns {copy: original} of tied tensors that a file may hold twice."""
  if model.kind != 'mlm':
    return {}
  return dict(family(model.family).TIED)


def tolerated(model: Model) -> set[str]:
  """Returns names that may lie in a file without a use in this model."""
  tables = family(model.family)
  modules = {n for table in tables.HEAD_NAMES.values() for n in table.values()}
  modules |= {*tables.OTHER_HEADS, prefix(model) + 'pooler.dense'}
  names = {f'{m}.{leaf}' for m in modules for leaf in ('weight', 'bias')}
  return names | set(tables.TIED) | {prefix(model) + b for b in BUFFERS}


def foreign_head(model: Model, architectures: Iterable[str]) -> bool:
  """Whether a file's head is another task's, under the names of ours."""
  tables, architectures = family(model.family), set(architectures)
  if tables.ARCHITECTURES[model.kind] in architectures:
    return False
  mine = set(tables.HEAD_NAMES.get(model.kind, {}).values())
  return any(
    tables.ARCHITECTURES[kind] in architectures and mine & set(table.values())
    for kind, table in tables.HEAD_NAMES.items()
  )
