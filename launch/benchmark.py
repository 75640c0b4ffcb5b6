"""Measurements beside a peer: `python -m launch.benchmark NAME [--flags]`.

Each benchmark is a module of `launch/benchmarks/`, see launch/cli/programs.py.
"""

import pathlib

from launch.cli import programs

FOLDER = pathlib.Path(__file__).parent / 'benchmarks'


def main(argv: list[str] | None = None) -> None:
  """Runs the benchmark named by the first argument.

  Args:
    argv: command line without the program's name; default `sys.argv[1:]`.
  """
  programs.run('benchmark', FOLDER, argv)


if __name__ == '__main__':
  main()
