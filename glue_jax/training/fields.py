"""What a field of a config may hold: the annotation of what reads it."""

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from glue_jax.config import config as config_lib
from glue_jax.config import ranges
from glue_jax.layers import spec
from glue_jax.layers.spec import EncoderConfig
from glue_jax.optim import build as optim
from glue_jax.training import schema
from glue_jax.training.sections import Network


def annotation(config: Mapping[str, Any], keys: Sequence[str]) -> Any:
  """Returns what a field may hold, as `ranges.check` takes it.

  Args:
    config: says which objective, optimizer and parts there are.
    keys: of the field: ('train', 'epochs'), ('optimizer', 'args', 'rank').

  Returns:
    its annotation; Any where nothing says it, as of a key that nothing reads.
  """
  section, *rest = keys
  if not rest:
    return config_lib.KINDS.get(section, Any)
  if section == 'model':
    return _of_model(rest)
  try:
    reader = _reader(config, section)
  except ValueError:  # a name that doesn't exist, which the check refuses
    return Any
  if section == 'optimizer' and rest[0] == 'phases':
    inside = Mapping[str, Mapping[str, Any]]
    if len(rest) > 2:
      return annotation(config, ('optimizer', *rest[2:]))
    return _inside(inside, rest[1:])
  if section == 'optimizer' and rest[0] == 'args' and len(rest) == 2:
    core = optim.CORES.get(config['optimizer'].get('name', 'adamw'))
    return _argument(core, rest[1]) if core else Any
  if section == 'objective' and rest == ['name']:
    return str
  return _inside(_argument(reader, rest[0]) if reader else Any, rest[1:])


def _reader(config: Mapping[str, Any], section: str) -> Callable | None:
  """What reads a section; None for one that no function does."""
  if section == 'objective':
    name = config['objective'].get('name', 'task')
    file = config_lib.module('objectives', name, 'objective')
    return getattr(file, 'make', None)
  return schema.READERS.get(section, (None,))[0]


def _of_model(keys: Sequence[str]) -> Any:
  """As `annotation`, below `model`; None takes back what was said before."""
  if keys[0] == 'options':
    if len(keys) == 3:
      try:
        takers = spec.takers(keys[1])
      except ValueError:
        return Any
      found = [_argument(taker, keys[2]) for taker in takers]
      return next((hint for hint in found if hint is not Any), Any)
    hint: Any = Mapping[str, Mapping[str, Any]]
    return _inside(hint, keys[1:]) if keys[1:] else hint | None
  fields = {f.name: f.type for f in dataclasses.fields(EncoderConfig)}
  fields |= {f.name: f.type for f in dataclasses.fields(Network)}
  fields |= {'name': str, 'preset': str}
  del fields['sizes']
  hint = _inside(fields.get(keys[0], Any), keys[1:])
  return hint if hint is Any else hint | None


def _argument(fn: Callable, name: str) -> Any:
  found = inspect.signature(fn).parameters.get(name)
  known = found is not None and found.annotation is not found.empty
  return found.annotation if known else Any


def _inside(hint: Any, keys: Sequence[str]) -> Any:
  """The annotation of what lies in a dict."""
  for _ in keys:
    values = [
      typing.get_args(part)[1]
      for part in ranges.alternatives(hint)
      if typing.get_origin(part) is Mapping
    ]
    hint = values[0] if values else Any
  return hint
