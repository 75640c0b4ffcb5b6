"""What is measured of a run: `python -m launch.probe NAME [--flags]`.

Each probe is a module of `launch/probes/`, see launch/cli/programs.py.
"""

import pathlib

from launch.cli import programs

FOLDER = pathlib.Path(__file__).parent / 'probes'


def main(argv: list[str] | None = None) -> None:
  """Runs the probe named by the first argument.

  Args:
    argv: command line without the program's name; default `sys.argv[1:]`.
  """
  programs.run('probe', FOLDER, argv)


if __name__ == '__main__':
  main()
