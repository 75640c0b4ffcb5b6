"""The `--config` flag: every field of the schema can be set and unset.

A file may leave out what it doesn't change, and `--config.mesh.fsdp=4` still
works. What a field takes is said by what reads it (flag_value.py), so
`--config.train.eval_every=None`, `--config.methods='()'` and
`--config.train.epochs=0.1` work whatever the recipe holds; a key that nothing
reads is found when the section is bound to its reader.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
from absl import flags

from glue_jax.config import config as config_lib
from launch.cli import config_files, flag_value

_OVERRIDE = re.compile(r'--?(?:no)?config\.([\w.]+)')


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
    for field, arg in _overrides(self._argv).items():
      _make_room(config, field.split('.'), arg)
    return config


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
    self._keys, self._config, self._given = field.split('.'), config, given
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

    return fields.annotation(self._config, self._keys)

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
      "None, numbers, names, tuples ('(1, 2)', '()' for none). "
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
