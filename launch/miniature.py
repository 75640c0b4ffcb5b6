"""A method's miniature experiment: `python -m launch.miniature SLUG [--flags]`.

Each is a module of `launch/miniatures/` (the slug with _ for -) with a
docstring, its own `define_flags()` and `main(argv)` that prints its table and
returns whether the required figures were reached; adding one is adding a file.
Exits 1 if they were missed.
"""

import importlib
import pathlib
import sys

from absl import app

FOLDER = pathlib.Path(__file__).parent / 'miniatures'


def slugs() -> list[str]:
  """Slugs of the miniatures: the public modules of `launch/miniatures`."""
  return sorted(
    p.stem.replace('_', '-')
    for p in FOLDER.glob('*.py')
    if not p.stem.startswith('_')
  )


def usage() -> str:
  """Text that lists the miniatures with the first line of each docstring."""
  lines = ['usage: python -m launch.miniature SLUG [--flags]', '']
  for slug in slugs():
    path = FOLDER / f'{slug.replace("-", "_")}.py'
    text = path.read_text().lstrip('"').splitlines()[0]
    lines.append(f'  {slug:<20} {text}')
  return '\n'.join(lines)


def main(argv: list[str] | None = None) -> None:
  """Runs the miniature named by the first argument.

  Args:
    argv: command line without the program's name; default `sys.argv[1:]`.
  """
  argv = sys.argv[1:] if argv is None else argv
  slug = argv[0] if argv else ''
  if slug not in slugs():
    found = f'unknown miniature {slug!r}\n' if slug else ''
    sys.exit(found + usage())
  name = slug.replace('-', '_')
  module = importlib.import_module(f'launch.miniatures.{name}')
  module.define_flags()
  run = lambda argv: None if module.main(argv) else 1
  app.run(run, argv=[f'miniature {slug}', *argv[1:]])


if __name__ == '__main__':
  main()
