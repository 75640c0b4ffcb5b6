"""The `--config` flag: every section of the schema can be overridden.

`ml_collections` overrides only keys that a config file writes down. Here a file
may leave out what it doesn't change, and `--config.mesh.fsdp=4` still works; a
key that nothing reads is found when the section is bound to its reader.
"""

import re
import sys
from collections.abc import Sequence
from typing import Any

import ml_collections
from absl import flags
from ml_collections import config_flags

from glue_jax.config import config as config_lib
from launch.cli import config_files


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
    for section, default in config_lib.DEFAULTS.items():
      if section not in config:
        config[section] = default
    for arg in sys.argv if self._argv is None else self._argv:
      named = re.match(r'--?config\.([\w.]+)', arg)
      if named:
        _make_room(config, named.group(1).split('.'), arg)
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


def define(
  values: flags.FlagValues = flags.FLAGS, argv: Sequence[str] | None = None
) -> flags.FlagHolder:
  """Defines `--config=FILE[:ARGUMENT]` with overrides `--config.key=value`.

  Args:
    values: where the flag is defined.
    argv: command line in which overrides are looked for; default: the
      program's own.
  """
  holder = config_flags.DEFINE_config_file(
    'config',
    None,
    'Config: a file, or the name of one of the package (quickstart, '
    'finetune/lora), with an argument after a colon if it takes one. '
    '--config.SECTION.KEY=VALUE changes a field.',
    flag_values=values,
    lock_config=False,
    accept_new_attributes=True,
    sys_argv=None if argv is None else list(argv),
  )
  flag = values['config']
  flag.parser = _Completing(argv)
  return holder
