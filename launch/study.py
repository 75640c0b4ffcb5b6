"""Many runs, one table: `python -m launch.study NAME [--flags]`.

Each study is a module of `launch/studies/`, see launch/cli/programs.py.
"""

import pathlib

from launch.cli import programs

FOLDER = pathlib.Path(__file__).parent / 'studies'


def main(argv: list[str] | None = None) -> None:
  """Runs the study named by the first argument.

  Args:
    argv: command line without the program's name; default `sys.argv[1:]`.
  """
  programs.run('study', FOLDER, argv)


if __name__ == '__main__':
  main()
