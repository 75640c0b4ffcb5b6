"""The `--config` flag: every field of the schema can be set and unset.

A file may leave out what it doesn't change, and `--config.mesh.fsdp=4` still
works. What a field takes is said by what reads it (flag_value.py), so
`--config.train.eval_every=None`, `--config.methods='()'` and
`--config.train.epochs=0.1` work whatever the recipe holds; a key that nothing
reads is found when the section is bound to its reader.

A stage is named before the section: `--config.stages.pretrain.train.steps=4`
sets what that one overrides; a field without it is of every stage that doesn't
set it itself.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
from absl import flags

from glue_jax.config import config as config_lib
from glue_jax.config import ranges
from launch.cli import config_files, flag_value

_OVERRIDE = re.compile(r'--?(?:no)?config\.([\w.-]+)')


class _Completing(flags.ArgumentParser):
  """Reads a config file, and adds the sections that it leaves out."""

  def __init__(self, argv: Sequence[str] | None):
    self._argv = argv

  def parse(self, text: str) -> Any:
    """Returns the config of 'FILE[:ARGUMENT]', with all sections.

    Raises:
      ValueError: there is no such file, it refuses the argument, or an
        override names no section.
    """
    try:
      config = config_files.load(text)
    except OSError as error:
      raise ValueError(str(error)) from error
    if not isinstance(config, Mapping | ml_collections.ConfigDict):
      raise ValueError(
        f'get_config of {text} returned a {type(config).__name__}; expected '
        'a ConfigDict'
      )
    config = ml_collections.ConfigDict(config).unlock()
    for section, default in config_lib.DEFAULTS.items():
      if section not in config:
        config[section] = default
    overrides = _overrides(self._argv)
    if any(field.startswith('stages.') for field in overrides):
      config.stages = _open_stages(config.stages)
    for field, arg in overrides.items():
      keys = field.split('.')
      if keys[0] == 'stages' and len(keys) > 1:
        _check_stage(config, keys, arg)
      _make_room(*_within(config, keys), arg)
    return config


def _open_stages(stages: Any) -> tuple[tuple[str, Any], ...]:
  """The stages, with what each overrides as a dict that flags can set.

  Raises:
    ValueError: they are no pairs of a name and a dict.
  """
  try:
    return tuple(
      (name, ml_collections.ConfigDict(changes).unlock())
      for name, changes in stages
    )
  except (TypeError, ValueError):
    expected = ranges.describe(config_lib.KINDS['stages'])
    raise ValueError(f'config.stages: expected {expected}') from None


def _check_stage(config: Any, keys: Sequence[str], arg: str) -> None:
  """Refuses a flag of no stage that there is, or of no field of one."""
  names = [name for name, _ in config.stages]
  if keys[1] not in names:
    there = f'there are {names}' if names else 'this config has no stages'
    raise ValueError(f'{arg}: no stage {keys[1]!r}; {there}')
  if len(keys) < 3 or keys[2] == 'stages':
    raise ValueError(
      f'{arg}: expected --config.stages.{keys[1]}.SECTION.KEY=VALUE'
    )


def _within(config: Any, keys: Sequence[str]) -> tuple[Any, Sequence[str]]:
  """What holds a field's section, a stage or the whole; its keys from there."""
  if keys[0] != 'stages' or len(keys) == 1:
    return config, keys
  return dict(config.stages)[keys[1]], keys[2:]


def _make_room(config: Any, keys: Sequence[str], arg: str) -> None:
  """Adds the dicts that an override goes into, `optimizer.args` for .args.rank.

  Raises:
    ValueError: the override names no section, or a key of what is no dict.
  """
  if keys[0] not in config_lib.DEFAULTS:
    raise ValueError(
      f'{arg}: no section {keys[0]!r}; there are {sorted(config_lib.DEFAULTS)}'
    )
  for depth, key in enumerate(keys[:-1], 1):
    if config.get(key) is None:
      config[key] = ml_collections.ConfigDict()
    config = config[key]
    if not isinstance(config, ml_collections.ConfigDict):
      raise ValueError(
        f'{arg}: config.{".".join(keys[:depth])} is {config!r}, which has no '
        f'{keys[depth]!r}; expected a dict'
      )


class _Override(flags.Flag):
  """The flag of one field, `--config.SECTION.KEY`; sets it in the config."""

  def __init__(self, field: str, config: Any, given: list[tuple[str, str]]):
    self._whole, self._given = config, given
    self._config, self._keys = _within(config, field.split('.'))
    self._texts: list[str] = []
    super().__init__(
      flags.ArgumentParser(),
      flags.ArgumentSerializer(),
      f'config.{field}',
      None,
      'A field of the config.',
      boolean=flag_value.is_switch(self._hint()),
    )

  def _hint(self) -> Any:
    from glue_jax.training import fields  # here, so that --help answers at once

    config = self._whole
    if self._config is not config:  # of a stage
      config = config_lib.override(config, self._config)
    return fields.annotation(config, self._keys)

  def _parse(self, argument: str | None) -> Any:
    if argument is None:  # the default
      return None
    self._texts.append(argument)
    *above, key = self._keys
    holder = self._config
    for section in above:
      holder = holder[section]
    try:
      value = flag_value.read(self._texts, self._hint(), holder.get(key))
    except ValueError as error:
      raise flags.IllegalFlagValueError(
        f'--{self.name}={argument}: {error}'
      ) from None
    with holder.ignore_type():
      holder[key] = value
    self._given.append((self.name.partition('.')[2], argument))
    return value


class _Config(flags.Flag):
  """The flag `--config`; its overrides become flags once it is read.

  Attributes:
    file: FILE[:ARGUMENT] as it was typed.
    given: (field, text) of every override, as they were typed.
  """

  def __init__(self, values: flags.FlagValues, argv: Sequence[str] | None):
    self._values, self._argv = values, argv
    self.file, self.given = '', []
    super().__init__(
      _Completing(argv),
      flags.ArgumentSerializer(),
      'config',
      None,
      'Config: a file, or the name of one of the package (quickstart, '
      'finetune/lora), with an argument after a colon if it takes one. '
      '--config.SECTION.KEY=VALUE sets a field, to what the field takes: '
      "None, numbers, names, tuples ('(1, 2)', '()' for none); "
      '--config.stages.NAME.SECTION.KEY=VALUE one of a stage. '
      'A field takes None, 0.1 or a key that the file leaves out if what reads '
      'it does.',
    )

  def _parse(self, argument: str | None) -> Any:
    config = super()._parse(argument)
    self.file, self.given = argument, []
    for field in _overrides(self._argv):
      name = f'config.{field}'
      if name in self._values:  # of an earlier command line
        delattr(self._values, name)
      flag = _Override(field, config, self.given)
      flags.DEFINE_flag(flag, self._values)
    return config


def _overrides(argv: Sequence[str] | None) -> dict[str, str]:
  """{field: its argument} of a command line, in order.

  Raises:
    ValueError: one stands before --config, or sets again the whole of what
      another one set a part of.
  """
  argv = list(sys.argv if argv is None else argv)
  fields: dict[str, str] = {}
  for arg in flags.FLAGS.read_flags_from_files(argv, force_gnu=False):
    if fields and re.match(r'--?config(=|$)', arg):
      first = next(iter(fields.values()))
      raise ValueError(f'{first} stands before --config; put it behind')
    named = _OVERRIDE.match(arg)
    if not named:
      continue
    field = named.group(1)
    if field.startswith('stages.') and 'stages' in fields:
      raise ValueError(
        f'{arg} stands beside {fields["stages"]:.60}; write it in there'
      )
    parts = [part for part in fields if part.startswith(f'{field}.')]
    if parts:
      raise ValueError(
        f'{arg} would replace what --config.{parts[0]} set before it; put it '
        'first'
      )
    fields[field] = arg
  return fields


def define(
  values: flags.FlagValues = flags.FLAGS, argv: Sequence[str] | None = None
) -> flags.FlagHolder:
  """Defines `--config=FILE[:ARGUMENT]` with overrides `--config.key=value`.

  Args:
    values: where the flag is defined.
    argv: command line in which overrides are looked for; default: the
      program's own.
  """
  return flags.DEFINE_flag(_Config(values, argv), values)
