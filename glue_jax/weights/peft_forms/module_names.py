"""Which modules a folder's settings name, by the rules of `peft` 0.21.

Names are those in the model that was adapted: `encoder.layer.0.output.dense` of
a bare encoder, with `bert.` before it of a model with a head.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

_T = TypeVar('_T')


def chosen(config: Mapping[str, Any], names: Iterable[str]) -> set[str]:
  """Returns the names of the modules that are adapted.

  As its `check_target_module_exists`.

  Args:
    config: with `target_modules`, and as far as there are `exclude_modules`,
      `modules_to_save`, `layers_to_transform`, `layers_pattern`.
    names: of all modules that may be adapted.
  """
  return {name for name in names if _is_chosen(config, name)}


def number(patterns: Mapping[str, _T], name: str, default: _T) -> _T:
  """Returns the value of the first pattern that ends like the name.

  As its `get_pattern_key`.
  """
  for pattern, value in patterns.items():
    if re.match(rf'(.*\.)?({pattern})$', name):
      return value
  return default


def saved(modules: Sequence[str] | None, name: str) -> bool:
  """Says whether a tensor lies in one of the modules that are saved whole."""
  parts = name.split('.')[:-1]
  inside = ['.'.join(parts[: i + 1]) for i in range(len(parts))]
  return any(m.endswith(end) for m in inside for end in modules or ())


def ends_like(modules: str | Sequence[str], name: str) -> bool:
  """Says whether a pattern matches the name, or a list has an end of it."""
  if isinstance(modules, str):
    return re.fullmatch(modules, name) is not None
  return any(name == m or name.endswith(f'.{m}') for m in modules)


def _is_chosen(config, name) -> bool:
  targets = config['target_modules']
  if ends_like(config.get('exclude_modules') or (), name):
    return False
  whole = config.get('modules_to_save') or ()
  if any(re.match(rf'(^|.*\.){m}($|\..*)', name) for m in whole):
    return False
  if not ends_like(targets, name):
    return False
  if isinstance(targets, str) or name in targets:
    return True
  layers = config.get('layers_to_transform')
  layers = [layers] if isinstance(layers, int) else layers
  return not layers or _layer(config.get('layers_pattern'), name) in layers


def _layer(patterns, name) -> int | None:
  """The number of the layer that a module lies in."""
  patterns = [patterns] if isinstance(patterns, str) else patterns
  before = [rf'(?:^|.*?\.){p}' for p in patterns or ()] or [r'.*?\.[^.]*']
  for pattern in before:
    hit = re.match(rf'{pattern}\.(\d+)\.', name)
    if hit:
      return int(hit[1])
  return None
