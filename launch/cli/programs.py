"""Programs that are files of a folder: one command runs the one it names.

A program is a public module with a docstring, its own `define_flags()` and
`main(argv)`; adding one is adding a file.
"""

import importlib
import pathlib
import sys
from collections.abc import Callable
from typing import Any

from absl import app


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
    path = folder / f'{name.replace("-", "_")}.py'
    text = path.read_text().lstrip('"').splitlines()[0]
    lines.append(f'  {name:<20} {text}')
  return '\n'.join(lines)


def run(
  command: str,
  folder: pathlib.Path,
  argv: list[str] | None = None,
  status: Callable[[Any], Any] = lambda found: found,
) -> None:
  """Runs the program that the first argument names, in either spelling.

  Args:
    command: file of `launch` that was called.
    folder: whose programs there are.
    argv: command line without the program's name; default `sys.argv[1:]`.
    status: what `main` returns -> exit status.
  """
  argv = sys.argv[1:] if argv is None else argv
  if argv[:1] in (['--help'], ['-h']):
    print(usage(command, folder))
    return
  name = argv[0].replace('_', '-') if argv else ''
  if name not in names(folder):
    found = f'unknown {command} {name!r}\n' if name else ''
    sys.exit(found + usage(command, folder))
  package = f'launch.{folder.name}'
  module = importlib.import_module(f'{package}.{name.replace("-", "_")}')
  module.define_flags()
  main = lambda argv: status(module.main(argv))
  app.run(main, argv=[f'{command} {name}', *argv[1:]])
