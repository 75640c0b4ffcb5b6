"""What a sweep asks of the config file that its cells share."""

from collections.abc import Sequence
from typing import Any

from absl import flags

from launch.cli import config_files, config_flag


def as_flags(overrides: Sequence[tuple[str, str]]) -> list[str]:
  """Returns '--config.field=value' for each."""
  return [f'--config.{field}={value}' for field, value in overrides]


def check(
  base: Sequence[str], overrides: Sequence[tuple[str, str]] = ()
) -> Any:
  """Parses a cell's flags as `launch.train` would, and checks every key.

  Args:
    base: '--config=...' and the fixed overrides.
    overrides: ((field, value), ...) of the cell.

  Returns:
    The cell's config.

  Raises:
    ValueError: nothing reads a field, or a value has the wrong type.
  """
  from glue_jax.training import schema  # here, so that --help answers at once

  argv = ['train', *base, *as_flags(overrides)]
  values = flags.FlagValues()
  config_flag.define(values, argv)
  try:
    values(argv)
  except flags.Error as error:
    raise ValueError(str(error)) from error
  schema.check(values['config'].value)
  return values['config'].value


def space(flag: str) -> Sequence[str]:
  """Returns what '--config=FILE[:ARGUMENT]' says of its search.

  That is `space(argument)` of the file or, if it has no such function, SPACE.

  Raises:
    ValueError: it has neither.
  """
  path, _, argument = flag.partition('=')[2].partition(':')
  names = config_files.read(path)
  if 'space' in names:
    return names['space'](argument) if argument else names['space']()
  fields = names.get('SPACE')
  if not fields:
    raise ValueError(
      f'--sampler=tpe needs --random=field=..., or SPACE in {path}'
    )
  return fields
