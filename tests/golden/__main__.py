"""Compares golden vectors with this implementation.

`python -m tests.golden [--dir DIR] [slug ...]`: one row per file,
`<slug>/<file> <worst abs error> <worst rel error> <tolerance> ok|FAIL`. The
relative error of an array is its worst absolute error over its largest value
(0 where the array is zero to within the tolerance);
the tolerance shown is that of the array that comes closest to it or exceeds it.

A slug is a module tests/golden/<slug with _ for ->.py with
`compare(arrays, folder) -> [(name, ours, theirs, atol, rtol)]`: close means
|ours - theirs| <= atol + rtol * |theirs| everywhere. `folder` is the file's,
for what stands beside the arrays (texts). `FILES`, if it is there, is the glob
of the files that it compares (default `*.npz`).

Exits 1 on a difference, on a slug without files, on an unknown slug, and on a
file that can't be read or compared.
"""

import argparse
import fnmatch
import importlib
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tests import golden

TOP = Path(__file__).resolve().parents[2]
SHARED = TOP.parent / 'shared' / 'golden'
OWN = TOP / 'tests' / 'golden_data'


def main(arguments: Sequence[str] | None = None) -> int:
  """Runs the comparison; returns the exit status."""
  parser = argparse.ArgumentParser(prog='python -m tests.golden')
  parser.add_argument(
    '--dir',
    type=Path,
    default=SHARED if SHARED.is_dir() else OWN,
    help='holds a folder for each slug (default: %(default)s)',
  )
  parser.add_argument('slug', nargs='*', help='default: all that are known')
  args = parser.parse_args(arguments)
  known = slugs()
  unknown = sorted(set(args.slug) - set(known))
  if unknown:
    _say(f'unknown slugs {unknown}; known are {known}')
    return 1
  results = [check_slug(args.dir, slug) for slug in args.slug or known]
  return 0 if all(results) else 1


def slugs() -> list[str]:
  """Returns the slugs that there is a module for."""
  modules = pkgutil.iter_modules(golden.__path__)
  return sorted(
    m.name.replace('_', '-') for m in modules if not m.name.startswith('_')
  )


def check_slug(folder: Path, slug: str) -> bool:
  """Compares a slug's files, prints their rows, says whether all are ok."""
  name = slug.replace('-', '_')
  module = importlib.import_module(f'tests.golden.{name}')
  pattern = getattr(module, 'FILES', '*.npz')
  home = folder / slug
  files = sorted(
    path
    for path in (home.iterdir() if home.is_dir() else ())
    if fnmatch.fnmatch(path.name, pattern)
  )
  if not files:
    _say(f'{slug}: no file {home / pattern}')
    print(f'{slug}/{pattern} - - - FAIL', flush=True)
  # A list: every file gets its row, also after a failure.
  rows = [check_file(module, slug, path) for path in files]
  return bool(rows) and all(rows)


def check_file(module: ModuleType, slug: str, path: Path) -> bool:
  """Compares one file, prints its row, says whether it is ok."""
  label = f'{slug}/{path.name}'
  try:
    with np.load(path, allow_pickle=False) as file:
      arrays = {key: file[key] for key in file.files}
    rows = [measure(*row) for row in module.compare(arrays, path.parent)]
    if not rows:
      raise ValueError('nothing was compared')
  except Exception as error:
    _say(f'{label}: {type(error).__name__}: {error}')
    print(f'{label} - - - FAIL', flush=True)
    return False
  for row in rows:
    if row['used'] > 1:
      _say(f'{label}: {row["name"]} differs by {row["abs"]:.3g}')
  worst = max(rows, key=lambda row: row['used'])
  ok = worst['used'] <= 1
  print(
    f'{label} {max(row["abs"] for row in rows):.3g} '
    f'{max(row["rel"] for row in rows):.3g} '
    f'{worst["tolerance"]} {"ok" if ok else "FAIL"}',
    flush=True,
  )
  return ok


def measure(
  name: str, ours: Any, theirs: Any, atol: float, rtol: float
) -> dict[str, Any]:
  """Returns errors of one array and the part of the tolerance they use.

  Raises:
    ValueError: the shapes differ.
  """
  ours = np.asarray(ours, np.float64)
  theirs = np.asarray(theirs, np.float64)
  if ours.shape != theirs.shape:
    raise ValueError(f'{name}: shape {ours.shape}, expected {theirs.shape}')
  with np.errstate(invalid='ignore', divide='ignore'):
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    error = np.where(same, 0.0, np.abs(ours - theirs))
    used = np.where(same, 0.0, error / (atol + rtol * np.abs(theirs)))
    size, worst = (
      np.max(np.abs(theirs), initial=0.0),
      np.max(error, initial=0.0),
    )
    # An array that is zero to within the tolerance has no relative error.
    relative = worst / size if size > atol or not worst <= atol else 0.0
  return {
    'name': name,
    'abs': np.nan_to_num(worst, nan=np.inf),
    'rel': np.nan_to_num(relative, nan=np.inf),
    # Infinite where a value isn't a number or nothing is allowed to differ.
    'used': np.nan_to_num(np.max(used, initial=0.0), nan=np.inf),
    'tolerance': f'{atol:g}+{rtol:g}*x',
  }


def _say(line: str) -> None:
  print(line, file=sys.stderr, flush=True)


if __name__ == '__main__':
  sys.exit(main())
