"""All contributions of a leaderboard: checked, scored, ranked.

  <folder>/registry.json  gold/  contributions/<method>/

Contributions are scored in parallel processes. What was scored once is kept
under the hash of its bytes, of the registry and of the code that scores, so a
rebuild scores what changed. A contribution that breaks a rule, or the code
that reads it, is listed with its problems and never stops the others.
"""

import concurrent.futures
import dataclasses
import hashlib
import json
import multiprocessing
import os
import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from glue_jax.leaderboard import registry as registry_lib
from glue_jax.leaderboard import safety, scoring
from glue_jax.leaderboard.contribution import check
from glue_jax.leaderboard.ranking import borda, kemeny
from glue_jax.leaderboard.registry import Registry
from glue_jax.leaderboard.scoring import Score
from glue_jax.metrics import scores
from glue_jax.reporting import files

_CODE = (
  'leaderboard/score_bootstrap.py',
  'leaderboard/registry.py',
  'leaderboard/board.py',
  'leaderboard/safety.py',
  'leaderboard/scoring.py',
  'leaderboard/contribution/check.py',
  'leaderboard/contribution/metadata.py',
  'leaderboard/contribution/predictions.py',
  'metrics/scores.py',
  'metrics/squad.py',
)
_IGNORED = ('README.md',)


@dataclasses.dataclass
class Method:
  """A contribution that passed, with all that is computed of it.

  Attributes:
    name: folder name.
    metadata: as of `metadata.parse`; it holds no score.
    scripts: {file name: text}, only shown.
    cells: {task: Score}.
    complete: it has every task of the leaderboard.
    averages: {board: Average} where it has the board's tasks.
    score: mean over tasks of the primary metric; None if incomplete, or if
      a primary metric is an error.
    borda, kemeny: places among complete methods, 1 = best.
  """

  name: str
  metadata: Mapping[str, Any]
  scripts: Mapping[str, str]
  cells: Mapping[str, Score]
  complete: bool = False
  averages: dict[str, scores.Average] = dataclasses.field(default_factory=dict)
  score: float | None = None
  borda: int | None = None
  kemeny: int | None = None

  def mark(self, tasks: Sequence[str]) -> str:
    """'transductive' if inputs of one of the tasks were trained on, or ''."""
    runs = self.metadata['runs']
    marked = any(runs.get(task, {}).get('transductive') for task in tasks)
    return 'transductive' if marked else ''


@dataclasses.dataclass
class Board:
  """A leaderboard after scoring.

  Attributes:
    registry: its tasks.
    tasks: names of those with public gold, in the registry's order.
    methods: contributions that passed, by name.
    refused: {name: problems} of the others.
    kemeny_exact: whether the Kemeny order is known to be the best one.
    scored: names of methods that were scored now, not taken from the cache.
  """

  registry: Registry
  tasks: tuple[str, ...]
  methods: dict[str, Method]
  refused: dict[str, list[str]]
  kemeny_exact: bool = True
  scored: tuple[str, ...] = ()
  _ranked: dict = dataclasses.field(default_factory=dict, repr=False)
  _extent: dict = dataclasses.field(default_factory=dict, repr=False)

  def ranked(self, task: str) -> list[Method]:
    """Methods with this task, best first; equal ones by name."""
    if task not in self._ranked:
      sign = -1 if self.registry.tasks[task].higher_is_better else 1
      methods = [m for m in self.methods.values() if task in m.cells]
      methods.sort(key=lambda m: (sign * m.cells[task].score, m.name))
      values = [-sign * m.cells[task].score for m in methods]
      places = borda.places(np.array(values)) if methods else ()
      names = [m.name for m in methods]
      self._ranked[task] = methods, dict(zip(names, map(int, places)))
    return self._ranked[task][0]

  def extent(self, task: str) -> tuple[float, float]:
    """Smallest and largest primary metric of all seeds on a task."""
    if task not in self._extent:
      primary = self.registry.tasks[task].primary
      values = [
        v for m in self.ranked(task) for v in m.cells[task].values[primary]
      ]
      self._extent[task] = (min(values), max(values))
    return self._extent[task]

  def places(self, task: str) -> dict[str, int]:
    """Competition places on a task: {method: place}, 1 = best."""
    self.ranked(task)
    return self._ranked[task][1]


def evaluate(
  folder: str | os.PathLike,
  cache: str | os.PathLike | None = None,
  jobs: int = 1,
  limits: safety.Limits = safety.DEFAULT,
  only: Sequence[str] = (),
) -> Board:
  """Checks, scores and ranks a leaderboard.

  Args:
    folder: holds registry.json, gold and contributions.
    cache: folder for scores of earlier builds; None keeps none.
    jobs: processes.
    limits: see safety.Limits.
    only: names of methods; empty for all.

  Raises:
    FileNotFoundError: no registry or no contributions.
    ValueError: the registry or its gold is wrong (a contribution never is).
  """
  folder = pathlib.Path(folder)
  registry = registry_lib.load(folder)
  tasks = tuple(
    name
    for name, entry in registry.tasks.items()
    if entry.gold != registry_lib.HIDDEN
  )
  for task in tasks:
    registry.gold(task)
  paths, refused = _paths(folder / 'contributions', only)
  work = [(path, registry, cache, limits) for path in paths]
  if jobs > 1 and len(work) > 1:
    # Spawned: a fork would copy the threads of whoever calls.
    context = multiprocessing.get_context('spawn')
    with concurrent.futures.ProcessPoolExecutor(jobs, context) as pool:
      size = max(1, len(work) // (4 * jobs))
      results = list(pool.map(_assess, work, chunksize=size))
  else:
    results = list(map(_assess, work))
  methods, scored, taken = {}, [], {}
  for path, method, problems, fresh in results:
    name = safety.printable(path.name)
    # Pages of names that differ in case only would be one file for some. Asked
    # of what passed only: no empty folder may push a method out.
    if not problems and method.name.lower() in taken:
      problems = [f'{path}:0: {taken[method.name.lower()]} has this name']
    if problems:
      refused[name] = problems
    else:
      taken[method.name.lower()] = name
      methods[method.name] = method
      scored += [method.name] * fresh
  board = Board(registry, tasks, dict(sorted(methods.items())), refused)
  board.scored = tuple(sorted(scored))
  board.refused = dict(sorted(refused.items()))
  _rank(board)
  return board


def _paths(folder, only) -> tuple[list[pathlib.Path], dict[str, list[str]]]:
  """Contributions by name, and what else lies there as problems."""
  if not folder.is_dir():
    raise FileNotFoundError(f'{folder} is missing; it holds the contributions')
  paths = []
  refused: dict[str, list[str]] = {}
  for path in sorted(folder.iterdir()):
    name = path.stem if path.suffix == '.zip' else path.name
    if path.name in _IGNORED or (only and name not in only):
      continue
    if path.name.startswith('.') and not path.is_dir():
      continue
    where = f'{safety.shown(str(path), 200)}:0'
    if path.suffix != '.zip' and path.is_file() and not path.is_symlink():
      refused[safety.printable(path.name)] = [
        f'{where}: neither a folder nor a .zip'
      ]
    else:
      paths.append(path)
  missing = sorted(set(only) - {p.name.removesuffix('.zip') for p in paths})
  if missing:
    raise ValueError(f'{folder} has no contribution {missing}')
  return paths, refused


def _assess(work) -> tuple[pathlib.Path, Method | None, list[str], bool]:
  """Reads and scores one contribution: (path, method, problems, fresh)."""
  import threadpoolctl  # comes with scikit-learn

  path, registry, cache, limits = work
  try:
    with threadpoolctl.threadpool_limits(1):  # the processes fill the cores
      return _scored(path, registry, cache, limits)
  except Exception as error:  # whatever it is, the other contributions count
    text = safety.shown(str(error), 200)
    where = safety.shown(str(path), 200)
    return path, None, [f'{where}:0: {type(error).__name__}: {text}'], True


def _scored(path, registry, cache, limits):
  contribution = check.read(path, limits)
  if contribution.problems:
    return path, None, contribution.problems, True
  key = _key(contribution, registry)
  stored = pathlib.Path(cache) / f'{key}.npz' if cache else None
  cells = _load(stored) if stored else None
  fresh = cells is None
  if fresh:
    runs = check.load(contribution, registry, limits)
    if contribution.problems:
      return path, None, contribution.problems, True
    cells = {
      task: scoring.score(registry.tasks[task], check.gold(registry, task), r)
      for task, r in sorted(runs.items())
    }
    if stored:
      _save(stored, cells)
  method = Method(
    contribution.method, contribution.metadata, contribution.scripts, cells
  )
  return path, method, [], fresh


def _key(contribution: check.Contribution, registry: Registry) -> str:
  digest = hashlib.sha256()
  top = pathlib.Path(scores.__file__).parents[1]
  for name in _CODE:
    digest.update((top / name).read_bytes())
  for task in sorted(contribution.files):
    entry = registry.tasks.get(task)
    fields = dataclasses.asdict(entry) if entry else None
    digest.update(json.dumps([task, fields]).encode())
  digest.update(f'{contribution.method} {contribution.digest}'.encode())
  return digest.hexdigest()


def _save(path: pathlib.Path, cells: Mapping[str, Score]) -> None:
  """Keeps cells as arrays and JSON."""
  records: list[dict] = []
  arrays: dict[str, Any] = {}
  for i, (task, cell) in enumerate(cells.items()):
    records.append(
      {
        'task': task,
        'seeds': cell.seeds,
        'values': {k: list(v) for k, v in cell.values.items()},
        'primary': cell.primary,
        'confusion': cell.confusion,
      }
    )
    arrays[f'draws_{i}'] = cell.draws
    if cell.right is not None:
      arrays[f'right_{i}'] = cell.right
  text = json.dumps(records).encode()
  path.parent.mkdir(parents=True, exist_ok=True)
  (path.parent / '.gitignore').write_text('*\n')  # no source
  with files.whole(path) as part, part.open('wb') as file:
    np.savez(file, records=np.frombuffer(text, np.uint8), **arrays)


def _load(path: pathlib.Path) -> dict[str, Score] | None:
  """Kept cells; None if there are none or the file is damaged."""
  if not path.is_file():
    return None
  try:
    with np.load(path, allow_pickle=False) as file:
      arrays = {name: file[name] for name in file.files}
    records = json.loads(arrays['records'].tobytes())
    return {
      record['task']: Score(
        seeds=tuple(record['seeds']),
        values={k: tuple(v) for k, v in record['values'].items()},
        primary=record['primary'],
        draws=arrays[f'draws_{i}'],
        right=arrays.get(f'right_{i}'),
        confusion=record['confusion']
        and tuple(map(tuple, record['confusion'])),
      )
      for i, record in enumerate(records)
    }
  except (OSError, ValueError, KeyError, zipfile.BadZipFile):
    return None


def _rank(board: Board) -> None:
  """Fills in averages and places."""
  entries = board.registry.tasks
  for method in board.methods.values():
    method.complete = all(task in method.cells for task in board.tasks)
    means = {
      task: {m: cell.mean(m) for m in cell.values}
      for task, cell in method.cells.items()
    }
    for name in ('glue', 'superglue'):
      members = [t for t in board.tasks if name in entries[t].boards]
      average = scoring.average(name, means, members)
      if average is not None:
        method.averages[name] = average
    # A mean of scores and errors would mean nothing.
    if method.complete and all(
      entries[t].higher_is_better for t in board.tasks
    ):
      method.score = float(
        np.mean([method.cells[task].score for task in board.tasks])
      )
  complete = [m for m in board.methods.values() if m.complete]
  if not complete:
    return
  signs = [1 if entries[t].higher_is_better else -1 for t in board.tasks]
  points = np.array(
    [
      [s * m.cells[t].score for s, t in zip(signs, board.tasks)]
      for m in complete
    ]
  )
  for method, place in zip(complete, borda.places(borda.borda(points))):
    method.borda = int(place)
  consensus = kemeny.consensus(points)
  board.kemeny_exact = bool(consensus.exact)
  for place, index in enumerate(consensus.order, 1):
    complete[index].kemeny = place
