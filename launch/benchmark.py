"""Measurements beside a peer: `python -m launch.benchmark NAME [--flags]`.

Each benchmark is a module of `launch/benchmarks/` with a docstring, its own
`define_flags()` and `main(argv)`; adding one is adding a file.
"""

import importlib
import pathlib
import sys

from absl import app

FOLDER = pathlib.Path(__file__).parent / 'benchmarks'


def names() -> list[str]:
  """Names of the benchmarks: the public modules of `launch/benchmarks`."""
  return sorted(
    p.stem for p in FOLDER.glob('*.py') if not p.stem.startswith('_')
  )


def usage() -> str:
  """Text that lists the benchmarks with the first line of each docstring."""
  lines = ['usage: python -m launch.benchmark NAME [--flags]', '']
  for name in names():
    text = (FOLDER / f'{name}.py').read_text().lstrip('"').splitlines()[0]
    lines.append(f'  {name:<12} {text}')
  return '\n'.join(lines)


def main(argv: list[str] | None = None) -> None:
  """Runs the benchmark named by the first argument.

  Args:
    argv: command line without the program's name; default `sys.argv[1:]`.
  """
  argv = sys.argv[1:] if argv is None else argv
  name = argv[0] if argv else ''
  if name not in names():
    found = f'unknown benchmark {name!r}\n' if name else ''
    sys.exit(found + usage())
  module = importlib.import_module(f'launch.benchmarks.{name}')
  module.define_flags()
  app.run(module.main, argv=[f'benchmark {name}', *argv[1:]])


if __name__ == '__main__':
  main()
