"""Programs that are files of a folder: one command runs the one it names.

A program is a public module with a docstring, its own `define_flags()` and
`main(argv)`; adding one is adding a file. In its name - and _ are the same.
"""

import ast
import importlib
import pathlib
import sys
from collections.abc import Callable
from typing import Any

from launch.cli import command as commands
from launch.cli import errors, streams


def names(folder: pathlib.Path) -> list[str]:
  """Names of the programs in a folder of `launch`, with - for _."""
  return sorted(
    p.stem.replace('_', '-')
    for p in folder.glob('*.py')
    if not p.stem.startswith('_')
  )


def usage(command: str, folder: pathlib.Path) -> str:
  """Text that lists the programs with the first line of each docstring."""
  lines = [f'usage: python -m launch.{command} NAME [--flags]', '']
  for name in names(folder):
    tree = ast.parse((folder / f'{name.replace("-", "_")}.py').read_text())
    text = (ast.get_docstring(tree) or '').partition('\n')[0]
    lines.append(f'  {name:<22} {text}')
  lines += ['', f'python -m launch.{command} NAME --help shows its flags.']
  return '\n'.join(lines)


def run(
  command: str,
  folder: pathlib.Path,
  argv: list[str] | None = None,
  status: Callable[[Any], Any] = lambda result: result,
) -> None:
  """Runs the program that the first argument names, in either spelling.

  Args:
    command: file of `launch` that was called.
    folder: whose programs there are.
    argv: command line without the program's name; default `sys.argv[1:]`.
    status: what `main` returns -> exit status.
  """
  if argv is None:
    streams.speak_utf8()
  argv = sys.argv[1:] if argv is None else argv
  if commands.asks_for_help(argv[:1]):
    print(usage(command, folder))
    sys.exit(0)
  name = argv[0].replace('_', '-') if argv else ''
  if name not in names(folder):
    wrong = f'error: no {command} {name!r}; there are:\n' if name else ''
    streams.say(wrong + usage(command, folder))
    sys.exit(errors.REFUSED)
  module = importlib.import_module(
    f'launch.{folder.name}.{name.replace("-", "_")}'
  )

  def main(argv):
    return status(module.main(argv))

  called = f'python -m launch.{command} {name}'
  argv = [called, *argv[1:]]
  commands.run(module.__doc__, module.define_flags, main, argv, called)
