"""Own code that a config names: `package.module:attribute`.

The module is found as Python finds any: installed, or in the directory in which
`python -m launch.train` is typed.
"""

import difflib
import importlib
import inspect
import os
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from glue_jax.config import config as config_lib

# A name, or a name and keyword arguments.
Entry = str | tuple[str, Mapping[str, Any]]


def split(entry: Entry) -> tuple[str, dict[str, Any]]:
  """Returns (name, keyword arguments) of an entry of a config."""
  if isinstance(entry, str):
    return entry, {}
  name, arguments = entry
  return name, config_lib.plain(arguments)


def load(name: str, where: str) -> Any:
  """Imports what `package.module:attribute` stands for.

  Args:
    name: of the module and of what it defines.
    where: the name's place in the config, for messages ('hooks[0]').

  Raises:
    ValueError: another form, no such module, one that can't be imported (says
      in which line), or it defines no such attribute.
  """
  module_name, colon, attribute = name.partition(':')
  parts = [*module_name.split('.'), attribute]
  if not colon or not all(part.isidentifier() for part in parts):
    raise ValueError(
      f'config.{where}: {name!r} is no name of own code; expected '
      "'package.module:attribute'"
    )
  try:
    module = importlib.import_module(module_name)
  except ModuleNotFoundError as error:
    if error.name and f'{module_name}.'.startswith(f'{error.name}.'):
      raise ValueError(
        f'config.{where}: no module {error.name!r}; looked in {os.getcwd()} '
        'and among what is installed'
      ) from None
    raise _failed(module_name, where, error) from error
  except Exception as error:
    raise _failed(module_name, where, error) from error
  if not hasattr(module, attribute):
    near = difflib.get_close_matches(attribute, vars(module))
    hint = f'; did you mean {" or ".join(near)}?' if near else ''
    raise ValueError(
      f'config.{where}: {module_name} ({module.__file__}) defines no '
      f'{attribute!r}{hint}'
    )
  return getattr(module, attribute)


def call(
  make: Callable[..., Any], arguments: Mapping[str, Any], where: str
) -> Any:
  """Calls what a config names with the arguments that it gives.

  Args:
    make: what the name stands for.
    arguments: checked by the signature of `make`.
    where: for messages.

  Raises:
    ValueError: it can't be called, doesn't take the arguments, or refuses them.
  """
  if not callable(make):
    raise ValueError(
      f'config.{where}: it is a {type(make).__name__}; expected what can be '
      'called'
    )
  try:
    inspect.signature(make)
  except (ValueError, TypeError):
    raise ValueError(
      f'config.{where}: Python knows no arguments of {make!r}; expected a '
      'function or a class of own code'
    ) from None
  bound = config_lib.bind(make, arguments, where)
  try:
    return make(**bound)
  except Exception as error:
    raise ValueError(f'config.{where}: {_said(error)}') from error


def _failed(module: str, where: str, error: Exception) -> ValueError:
  """A module that can't be imported, with the line that it failed in."""
  frames = traceback.extract_tb(error.__traceback__)
  lines = [f for f in frames if 'importlib' not in f.filename][1:]
  place = f' ({lines[-1].filename}:{lines[-1].lineno})' if lines else ''
  if isinstance(error, SyntaxError):
    place = f' ({error.filename}:{error.lineno})'
  return ValueError(
    f'config.{where}: {module} cannot be imported: {_said(error)}{place}'
  )


def _said(error: Exception) -> str:
  first = (str(error).splitlines() or [''])[0]
  return f'{type(error).__name__}: {first}'
