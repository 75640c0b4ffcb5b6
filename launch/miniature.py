"""A method's small experiment: `python -m launch.miniature NAME [--flags]`.

Each is a module of `launch/miniatures/`, see launch/cli/programs.py, whose
`main` prints its table and returns whether the required figures were reached.
Exits 1 if they were missed.
"""

import pathlib

from launch.cli import programs

FOLDER = pathlib.Path(__file__).parent / 'miniatures'


def missed(reached: bool) -> int:
  """Exit status of a miniature."""
  return 0 if reached else 1


def main(argv: list[str] | None = None) -> None:
  """Runs the miniature named by the first argument.

  Args:
    argv: command line without the program's name; default `sys.argv[1:]`.
  """
  programs.run('miniature', FOLDER, argv, missed)


if __name__ == '__main__':
  main()
