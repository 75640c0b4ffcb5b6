"""Names of parameters in Hugging Face files, from the tables of a family.

NAMES and HEAD_NAMES of a family give {our module: theirs}; `names(config)` does
where that depends on the sizes. A name with
`[k/n]` at its end is the k-th of n equal parts of a tensor: query, key and
value are one there in some families. Kernels are transposed there, but for
those that match AS_STORED.
"""

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from glue_jax import tree
from glue_jax.layers.kinds import WORDS

# Constant buffers that files of older libraries hold.
BUFFERS = ('embeddings.position_ids', 'embeddings.token_type_ids')


class Target(NamedTuple):
  """Where a parameter lies in a Hugging Face file.

  Attributes:
    name: tensor name.
    shape: the tensor's shape there.
    transpose: whether it is our kernel transposed.
    part: (k, n): ours is the k-th of n equal parts of it, along the outputs.
  """

  name: str
  shape: tuple[int, ...]
  transpose: bool
  part: tuple[int, int] = (0, 1)

  def ours(self, value: np.ndarray) -> np.ndarray:
    """Returns our parameter of the tensor's value."""
    value = value.T if self.transpose else value
    k, n = self.part
    return value if n == 1 else np.split(value, n, axis=-1)[k]


def tensors(
  targets: Mapping[str, Target], values: Mapping[str, Any]
) -> dict[str, tree.Unread]:
  """Returns {tensor name: value} of a Hugging Face file.

  Each is put together where it is read: a copy of one at a time is in memory.

  Args:
    targets: {parameter name: its place there}, with all parts of a tensor.
    values: {parameter name: our value}.
  """
  parts: dict[str, dict[int, str]] = {}
  for name, target in targets.items():
    parts.setdefault(target.name, {})[target.part[0]] = name

  def value(target):
    own = parts[target.name]
    ours = [np.asarray(values[own[k]], np.float32) for k in sorted(own)]
    joined = ours[0] if len(ours) == 1 else np.concatenate(ours, axis=-1)
    return joined.T if target.transpose else joined

  return {
    target.name: tree.Unread(
      target.shape, np.dtype(np.float32), functools.partial(value, target)
    )
    for target in targets.values()
  }


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
  own = getattr(tables, 'names', lambda _: tables.NAMES)(model.config)
  table = {ours: start + theirs for ours, theirs in own.items()}
  table |= tables.HEAD_NAMES.get(model.kind, {})
  as_stored = getattr(tables, 'AS_STORED', ())
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
    theirs, part = _split(theirs)
    shape = (*leaf.shape[:-1], leaf.shape[-1] * part[1])
    stored = any(re.match(pattern, theirs) for pattern in as_stored)
    transpose = last == 'kernel' and not stored
    suffix = 'bias' if last == 'bias' else 'weight'
    places[name] = Target(
      f'{theirs}.{suffix}', shape[::-1] if transpose else shape, transpose, part
    )
  if nameless:
    raise ValueError(
      f'a Hugging Face {model.family} has no place for '
      + ', '.join(sorted(nameless))
    )
  return places


def one_each(places: dict[str, Target], what: str) -> dict[str, Target]:
  """Returns the places, where each parameter is a tensor of its own.

  Args:
    places: of `targets`.
    what: needs that; stands in the message.

  Raises:
    ValueError: several parameters are one tensor there.
  """
  joined = sorted({x.name for x in places.values() if x.part[1] > 1})
  if joined:
    raise ValueError(
      f'a Hugging Face folder of this family keeps several parameters in one '
      f'tensor ({joined[0]}, ...), which {what} cannot take apart yet'
    )
  return places


def _split(name: str) -> tuple[str, tuple[int, int]]:
  """'attn.c_attn[0/3]' as ('attn.c_attn', (0, 3)); without a part, (0, 1)."""
  hit = re.fullmatch(r'(.*)\[(\d+)/(\d+)\]', name)
  return (hit[1], (int(hit[2]), int(hit[3]))) if hit else (name, (0, 1))


def prefix(model: Any) -> str:
  """Returns what stands before a stack's tensors: '' without a head."""
  if model.kind == 'encoder':
    return ''
  own = getattr(model.tables, 'PREFIXES', {})
  start = own.get(model.kind, model.tables.PREFIX)
  return start and f'{start}.'


def canonical(name: str, model: Any) -> str:
  """Returns the name that today's library would write for this model."""
  name = re.sub(r'(LayerNorm|layer_norm)\.gamma$', r'\1.weight', name)
  name = re.sub(r'(LayerNorm|layer_norm)\.beta$', r'\1.bias', name)
  tables = model.tables
  starts = {tables.PREFIX, *getattr(tables, 'PREFIXES', {}).values()}
  for start in sorted(starts):
    if start and name.startswith(start + '.'):
      return prefix(model) + name.removeprefix(start + '.')
  tops = {theirs.partition('.')[0] for theirs in tables.NAMES.values()}
  if name.partition('.')[0] in tops:
    return prefix(model) + name
  return name


def originals(model: Any) -> dict[str, str]:
  """Returns {copy: original} of tied tensors that a file may hold twice."""
  start = prefix(model)
  copies = {start + a: start + b for a, b in _copies(model.tables).items()}
  if model.kind in WORDS and model.config.tied:
    copies |= model.tables.TIED
  return copies


def _copies(tables):
  """What a stack's file may hold twice, without the prefix."""
  return getattr(tables, 'COPIES', {})


def tolerated(name: str, model: Any) -> bool:
  """Whether a tensor may lie in a file without a use in this model."""
  start = prefix(model)
  buffers = getattr(model.tables, 'BUFFERS', ())
  own = name.removeprefix(start)
  return name in _tolerated(model) or any(
    re.fullmatch(pattern, own) for pattern in buffers
  )


def _tolerated(model: Any) -> set[str]:
  tables = model.tables
  modules = {n for table in tables.HEAD_NAMES.values() for n in table.values()}
  pooler = tables.NAMES.get('pooler/dense', 'pooler.dense')
  modules |= {*tables.OTHER_HEADS, prefix(model) + pooler}
  names = {f'{m}.{leaf}' for m in modules for leaf in ('weight', 'bias')}
  stack = {prefix(model) + b for b in (*BUFFERS, *_copies(tables))}
  return names | set(tables.TIED) | stack


def foreign_head(model: Any, architectures: Iterable[str]) -> bool:
  """Whether a file's head is another task's, under the names of ours."""
  tables, architectures = model.tables, set(architectures)
  kinds = {model.kind}
  if model.kind == 'mlm':  # its head is a part of that one
    kinds.add('sentence_structure')
  kinds &= set(tables.ARCHITECTURES)
  if architectures & {tables.ARCHITECTURES[kind] for kind in kinds}:
    return False
  mine = set(tables.HEAD_NAMES.get(model.kind, {}).values())
  return any(
    tables.ARCHITECTURES.get(kind) in architectures
    and mine & set(table.values())
    for kind, table in tables.HEAD_NAMES.items()
  )
