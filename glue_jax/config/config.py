"""Configs: plain `ml_collections` records whose schema is the code itself.

A section of a config is the keyword arguments of the function that consumes
it: `bind` joins the two, so a key that nothing reads is an error before any
work starts, and "which values may stand here" is answered by the function's
signature (glue_jax/config/ranges.py) and docstring.
"""

import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Annotated, Any

import ml_collections

from glue_jax.config import ranges
from glue_jax.config.ranges import Filled, Whole

# Every top-level key and what it holds when a config leaves it out.
DEFAULTS: dict[str, Any] = dict(
  task=dict(),  # glue_jax.data.tasks.by_name.make: what is learned
  data=dict(),  # glue_jax.data.pipeline.build: how it is read and batched
  model=dict(),  # glue_jax.training.sections.Network: its sizes, its weights
  objective=dict(name='task'),  # glue_jax/objectives/<name>.py
  methods=(),  # ((name, kwargs), ...): glue_jax/methods/<name>.py
  optimizer=dict(),  # glue_jax.optim.build.make; `phases`: training/phases.py
  train=dict(),  # glue_jax.training.sections.Schedule
  mesh=dict(),  # glue_jax.devices.sharding.make_mesh
  hooks=(),  # glue_jax.training.own_hooks: own code between steps
  loggers=('jsonl', 'tensorboard'),  # glue_jax.reporting.logger
  seeds=(0,),  # one run for each
  stages=(),  # ((name, overrides), ...): one run after another
)

Section = Mapping[str, Any]
Named = Sequence[tuple[str, Section]]
Entries = Sequence[str | tuple[str, Section]]
# What each of them is; what is inside a section, its reader says.
KINDS: dict[str, Any] = dict.fromkeys(DEFAULTS, Section) | dict(
  methods=Named,
  hooks=Entries,
  loggers=Entries,
  seeds=Annotated[Sequence[Whole], Filled()],
  stages=Named,
)


def complete(config: Mapping[str, Any]) -> ml_collections.ConfigDict:
  """Returns a locked config with every top-level key.

  Raises:
    ValueError: a top-level key is unknown, or holds something else.
  """
  given: dict[str, Any] = plain(config)
  unknown = set(given) - set(DEFAULTS)
  if unknown:
    raise ValueError(
      f'unknown config keys {sorted(unknown)}; known are {sorted(DEFAULTS)}'
    )
  for key, value in given.items():
    ranges.check(value, KINDS[key], f'config.{key}')
  full = ml_collections.ConfigDict(DEFAULTS | given)
  return full.lock()


def plain(config: Any) -> Any:
  """Returns the config as dicts, lists and scalars, as JSON would give it."""
  if isinstance(config, ml_collections.ConfigDict):
    config = config.to_dict()
  if isinstance(config, Mapping):
    return {key: plain(value) for key, value in config.items()}
  if isinstance(config, (list, tuple)):
    return [plain(value) for value in config]
  return config


def override(config: Any, changes: Mapping[str, Any]) -> Any:
  """Returns the config with nested changes; dicts merge, all else replaces."""
  merged = dict(plain(config))
  for key, value in plain(changes).items():
    if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
      value = override(merged[key], value)
    merged[key] = value
  return merged


def shortened(config: Any, steps: int, rows: int = 32) -> Any:
  """Returns the config with every run of it cut short, to see that it runs.

  Args:
    config: with stages or without.
    steps: updates of each run.
    rows: that are scored of each split.
  """
  few = dict(
    data=dict(eval_limit=rows),
    train=dict(
      epochs=None, minutes=None, steps=steps, eval_every=None, save_every=None
    ),
  )
  short = override(config, few)
  stages = short.get('stages', ())
  return short | {'stages': [(n, override(part, few)) for n, part in stages]}


def bind(fn: Callable[..., Any], section: Any, where: str, *given: str) -> dict:
  """Returns the section as keyword arguments of `fn`, checked.

  Args:
    fn: what consumes the section.
    section: a mapping of keyword arguments.
    where: the section's place in the config, for messages ('optimizer').
    *given: names of arguments that the caller passes itself.

  Raises:
    ValueError: a key that `fn` doesn't take, a required one that is missing,
      or a value that isn't what the signature says, see `ranges.check`.
  """
  kwargs = plain(section)
  params = inspect.signature(fn).parameters.values()
  takes_any = any(p.kind is p.VAR_KEYWORD for p in params)
  known = [
    p.name
    for p in params
    if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)
    and p.name not in given
  ]
  unknown = [key for key in kwargs if key not in known]
  if unknown and not takes_any:
    raise ValueError(
      f'config.{where}: nothing reads {unknown}; known keys are {known}'
    )
  missing = [
    p.name
    for p in params
    if p.default is p.empty and p.name in known and p.name not in kwargs
  ]
  if missing:
    raise ValueError(f'config.{where}: {missing} must be given')
  ranges.check_arguments(fn, kwargs, f'config.{where}')
  return kwargs


def module(package: str, name: str, where: str) -> ModuleType:
  """Imports `glue_jax.<package>.<name>`, the part that a config names.

  Raises:
    ValueError: there is no such file; the message lists those there are.
  """
  names = files(package)
  if name not in names:
    raise ValueError(
      f'config.{where}: no file glue_jax/{package}/{name}.py; there are {names}'
    )
  return importlib.import_module(f'glue_jax.{package}.{name}')


def settings(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
  """Returns all settings of a method: those given, the defaults of the others.

  Raises:
    ValueError: there is no such method.
  """
  make = module('methods', method, f'methods.{method}').make
  known = inspect.signature(make).parameters.values()
  defaults = {p.name: p.default for p in known if p.kind is p.KEYWORD_ONLY}
  return defaults | dict(given)


def files(package: str) -> list[str]:
  """Returns the names of the files in `glue_jax.<package>`, sorted."""
  parent = importlib.import_module(f'glue_jax.{package}')
  return sorted(m.name for m in pkgutil.iter_modules(parent.__path__))


def facts(package: str) -> dict[str, Any]:
  """Returns {name: the record `FACTS`} of all files in `glue_jax.<package>`."""
  return {name: module(package, name, package).FACTS for name in files(package)}


def dumps(config: Any) -> str:
  """Returns the config as JSON text with sorted keys."""
  return json.dumps(plain(config), indent=2, sort_keys=True) + '\n'


def changes(old: Any, new: Any, prefix: str = '') -> list[str]:
  """Lists the leaves that differ, one line each: `key: old -> new`."""
  old, new = plain(old), plain(new)
  if isinstance(old, Mapping) and isinstance(new, Mapping):
    lines = []
    for key in sorted(old.keys() | new.keys()):
      a, b = old.get(key, '(absent)'), new.get(key, '(absent)')
      lines += changes(a, b, f'{prefix}.{key}' if prefix else key)
    return lines
  return [] if old == new else [f'{prefix}: {old!r} -> {new!r}']
