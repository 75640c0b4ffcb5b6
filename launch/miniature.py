"""A method's miniature experiment: `python -m launch.miniature SLUG [--flags]`.

Each is a module of `launch/miniatures/` (the slug with _ for -) with a
docstring, its own `define_flags()` and `main(argv)` that prints its table and
returns whether the required figures were reached; adding one is adding a file.
Exits 1 if they were missed.
"""

import pathlib

from launch.cli import programs

FOLDER = pathlib.Path(__file__).parent / 'miniatures'


def main(argv: list[str] | None = None) -> None:
  """Runs the miniature named by the first argument.

  Args:
    argv: command line without the program's name; default `sys.argv[1:]`.
  """
  missed = lambda reached: None if reached else 1
  programs.run('miniature', FOLDER, argv, missed)


if __name__ == '__main__':
  main()
