"""Compares golden vectors with this implementation.

`python -m tests.golden [--dir DIR] [slug ...]`: one row per file,
`<slug>/<file> <abs error> <rel error> <tolerance> ok|FAIL`, all three of the
array that comes closest to its tolerance or exceeds it most. The absolute error
is the array's worst, the relative one that over the array's largest value (0
where the array is zero to within the tolerance).

After the rows of a slug, a line counts: `<slug>: compared 2 of 9 files; not
built: 7 files: bart.npz (BART), ...`. Every *.npz of the slug's folder is
counted; one is not compared only where its module says that the system isn't
built yet. Folders of slugs without a module are named at the end.

A slug is a module tests/golden/<slug with _ for ->.py with
`compare(arrays, folder) -> [(name, ours, theirs, atol, rtol)]`: close means
|ours - theirs| <= atol + rtol * |theirs| everywhere. `arrays` gives None for an
intermediate value `mid_*` that the file lacks, and its row is left out.
`folder` is the file's, for what stands beside the arrays (texts). A module
whose name begins with _ is a part of another one.

Exits 1 on a difference, on a slug of whose files none was compared, on an
unknown slug, and on a file that can't be read or compared.
"""

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tests import golden
from tests.golden._kinds import Arrays, NotBuilt

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
  # The tolerances are those of float32 on a CPU.
  os.environ.setdefault('JAX_PLATFORMS', 'cpu')
  results = [check_slug(args.dir, slug) for slug in args.slug or known]
  if not args.slug:
    for home in sorted(args.dir.iterdir() if args.dir.is_dir() else ()):
      if home.name not in known and (files := _files(home)):
        print(f'{home.name}: {_not_built(path.name for path in files)}')
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
  files = _files(folder / slug)
  if not files:
    _say(f'{slug}: no file {folder / slug}/*.npz')
    print(f'{slug}/*.npz - - - FAIL', flush=True)
    return False
  rows, later = [], []
  for path in files:
    try:
      rows.append(check_file(module, slug, path))
    except NotBuilt as system:
      later.append(f'{path.name} ({system})')
  line = f'{slug}: compared {len(rows)} of {len(files)} files'
  if later:
    line = f'{line}; {_not_built(later)}'
  print(line, flush=True)
  return bool(rows) and all(rows)


def _files(home: Path) -> list[Path]:
  return sorted(home.glob('*.npz'))


def _not_built(files: Iterable[str]) -> str:
  names = list(files)
  return f'not built: {len(names)} files: {", ".join(names)}'


def check_file(module: ModuleType, slug: str, path: Path) -> bool:
  """Compares one file, prints its row, says whether it is ok.

  Raises:
    NotBuilt: the module says that the file's system isn't built.
  """
  label = f'{slug}/{path.name}'
  try:
    with np.load(path, allow_pickle=False) as file:
      arrays = Arrays({key: file[key] for key in file.files})
    rows = module.compare(arrays, path.parent)
    rows = [measure(*row) for row in rows if row[2] is not None]
    if not rows:
      raise ValueError('nothing was compared')
  except NotBuilt:
    raise
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
    f'{label} {worst["abs"]:.3g} {worst["rel"]:.3g} {worst["tolerance"]} '
    f'{"ok" if ok else "FAIL"}',
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
