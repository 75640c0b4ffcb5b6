"""Writes the static site: pages, CSV and JSON, from a scored board.

The same board gives the same bytes. A file is written only if its bytes
change, all of them together when all are made, and files of an earlier build
that are no longer part of the site are removed. Templates escape everything
(jinja2, autoescape on for all of them).
"""

import hashlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from glue_jax.leaderboard.board import Board
from glue_jax.leaderboard.site import figures, pages
from glue_jax.leaderboard.site.tables import Table, number, seconds, size
from glue_jax.reporting.files import replace_text, whole_folder

_HERE = pathlib.Path(__file__).parent
MANIFEST = 'manifest.txt'


def environment() -> Any:
  """The template engine.

  Raises:
    ImportError: jinja2 is not installed; names the extra.
  """
  try:
    import jinja2
  except ImportError as error:
    raise ImportError(
      "the leaderboard's site needs jinja2: pip install 'glue_jax[leaderboard]'"
    ) from error
  jinja = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_HERE / 'templates'),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  jinja.filters |= {'number': number, 'seconds': seconds, 'size': size}
  jinja.globals['shown'] = pages.shown
  return jinja


def files(board: Board, title: str) -> Iterator[tuple[str, str]]:
  """Yields (relative path, text) of every file of the site.

  Args:
    board: from `board.evaluate`.
    title: heading of the site.
  """
  templates = environment()
  shared = {'title': title, 'board': board, 'state': _state(board)}

  def page(template: str, path: str, tables: list[Table], **values: Any):
    folder = path.rpartition('/')[0]
    base = path.removesuffix('.html')
    values |= shared | {
      'root': '../' * (path.count('/')),
      'path': path,
      'downloads': {
        t.name: f'{base.rpartition("/")[2]}-{t.name}' for t in tables
      },
      'tables': {t.name: t for t in tables},
    }
    yield path, templates.get_template(template).render(values)
    for table in tables:
      name = f'{folder}/' * bool(folder) + values['downloads'][table.name]
      yield f'{name}.csv', table.csv()
      yield f'{name}.json', table.json()

  for path in sorted((_HERE / 'static').iterdir()):
    yield f'static/{path.name}', path.read_text()
  tables = [pages.index_table(board, True), pages.index_table(board, False)]
  yield from page(
    'index.html',
    'index.html',
    [*tables, pages.tasks_table(board)],
    scatters=figures.scatters(board),
  )
  yield from page('about.html', 'about.html', [])
  yield from page('refused.html', 'refused.html', [])
  for task in board.tasks:
    ranked = board.ranked(task)
    entry = board.registry.tasks[task]
    yield from page(
      'task.html',
      f'tasks/{task}.html',
      [pages.task_table(board, task)],
      task=entry,
      bars=figures.task_bars(board, task),
      best=ranked[0].name if ranked else '',
      confusion=figures.confusion(entry, ranked[0].cells[task])
      if ranked
      else None,
    )
  for method in board.methods.values():
    yield from page(
      'method.html',
      f'methods/{method.name}.html',
      [pages.method_table(board, method)],
      method=method,
      costs=pages.costs(method, board.tasks),
      plots=figures.method_plots(board, method),
    )


def write(
  board: Board,
  out: str | os.PathLike,
  title: str = 'Leaderboard',
) -> dict[str, int]:
  """Writes the site.

  Args:
    board: from `board.evaluate`.
    out: folder of the site; new, empty, or written by an earlier build.
    title: heading of the site.

  Returns:
    Counts: 'written', 'kept' (same bytes), 'removed'.

  Raises:
    ValueError: the folder holds something else, or lies beside the sources.
  """
  out = pathlib.Path(out)
  if _confined(out, board.registry.folder):
    raise ValueError(
      f'{out} lies in {board.registry.folder}: generated pages would be '
      'committed with the sources; choose a folder outside'
    )
  manifest = out / MANIFEST
  if out.is_dir() and any(out.iterdir()) and not manifest.is_file():
    raise ValueError(
      f'{out} is not empty and has no {MANIFEST}, so it is no earlier build; '
      'choose a new folder'
    )
  before = manifest.read_text().split('\n') if manifest.is_file() else []
  counts = {'written': 0, 'kept': 0, 'removed': 0}
  names = []
  with whole_folder(out) as part:
    for name, text in files(board, title):
      names.append(name)
      changed = _write(part / name, text, out / name)
      counts['written' if changed else 'kept'] += 1
    listing = '\n'.join(sorted(names)) + '\n'
    _write(part / MANIFEST, listing, manifest)
    # While the earlier manifest still lists them.
    for name in sorted(set(filter(None, before)) - set(names)):
      # It may have been edited: nothing outside is touched.
      if _confined(out / name, out) and (out / name).is_file():
        (out / name).unlink()
        counts['removed'] += 1
  return counts


def _confined(path: pathlib.Path, folder: pathlib.Path) -> bool:
  """Whether a path lies in a folder, or is it."""
  path, folder = path.resolve(), folder.resolve()
  return path == folder or folder in path.parents


def _write(path: pathlib.Path, text: str, before: pathlib.Path) -> bool:
  if before.is_file() and before.read_bytes() == text.encode():
    return False
  replace_text(path, text)
  return True


def _state(board: Board) -> str:
  """Short hash of the registry, named on every page instead of a date."""
  data = (board.registry.folder / 'registry.json').read_bytes()
  return hashlib.sha256(data).hexdigest()[:12]
