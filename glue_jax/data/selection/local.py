"""Data selection on one machine: processes over pieces, arrays on disk.

Stages: scan (features of all texts, once), fit, weigh, draw, describe, write.
The scan leaves the buckets of every n-gram in a work folder (2 bytes each), so
that nothing is split or hashed twice; what is kept for each document lies there
too.
"""

import concurrent.futures
import multiprocessing
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np

from glue_jax.data.selection import corpus_files, dsir, spool
from glue_jax.data.selection import pieces as selection_pieces
from glue_jax.data.selection import run as selection_run
from glue_jax.reporting.files import whole

_RETRIES = 3
_NAMES = 1 << 22  # ids compared at a time
_PIECES = 256  # scanned at a time


class Workers:
  """Processes that survive the death of one of them.

  Pieces whose worker was killed are done again by new processes, three times
  at most; every function here may be called again.

  Args:
    count: processes; 1: none, all is done in this one.
  """

  def __init__(self, count: int):
    if count < 1:
      raise ValueError(f'{count} workers; expected at least 1')
    self.count = count
    self._pool = None

  def __enter__(self) -> 'Workers':
    return self

  def __exit__(self, *_: object) -> None:
    self._stop()

  def _stop(self) -> None:
    if self._pool is not None:
      self._pool.shutdown(cancel_futures=True)
    self._pool = None

  def map(self, function: Callable, calls: Sequence[tuple]) -> list:
    """Returns function(*arguments) for each call, in their order.

    Raises:
      RuntimeError: workers kept dying.
    """
    if self.count == 1:
      return [function(*call) for call in calls]
    results: dict[int, Any] = {}
    for _ in range(_RETRIES + 1):
      try:
        self._some(function, calls, results)
        return [results[i] for i in range(len(calls))]
      except BrokenProcessPool:
        self._stop()
    raise RuntimeError(
      f'workers were killed {_RETRIES + 1} times; is there too little memory? '
      f'Use fewer workers'
    )

  def _some(self, function, calls, results) -> None:
    if self._pool is None:
      # Spawned: forking a process with threads (jax has some) can hang.
      self._pool = concurrent.futures.ProcessPoolExecutor(
        self.count, multiprocessing.get_context('spawn')
      )
    left = [i for i in range(len(calls)) if i not in results]
    futures = {self._pool.submit(function, *calls[i]): i for i in left}
    for future in concurrent.futures.as_completed(futures):
      results[futures[future]] = future.result()


class Local:
  """One selection on this machine.

  Args:
    run: what is selected from what.
    workers: processes.
    shards: about how many pieces the raw corpus is cut into; doesn't change
      what is selected.
    folder: for what lies on disk while it runs.
  """

  def __init__(self, run, workers: Workers, shards: int, folder: str):
    self.run, self.workers, self.folder = run, workers, folder
    self.shards = shards
    self.seconds: dict[str, float] = {}

  def __call__(self, out: pathlib.Path) -> dict[str, Any]:
    """Selects, writes the documents to `out`, returns the report."""
    with self._timed('scan'):
      plan, model = self._fit()
    with self._timed('weigh'):
      weights = self._weigh(plan, model)
    with self._timed('draw'):
      sets = self._draw(plan, model, weights)
    vectors: dict[str, np.ndarray] = {}
    if self.run.report:
      with self._timed('describe'):
        vectors = self._describe(plan, weights, sets)
    with self._timed('write'):
      self._write(plan, weights, sets['selected'], out)
    report = selection_run.report(self.run, plan, model, vectors)
    return report | {'seconds': self.seconds}

  def _timed(self, name: str):
    return _Timed(self.seconds, name)

  def _spool(self, piece: int) -> spool.Spool:
    return spool.Spool(self.folder, piece, self.run.settings.buckets)

  def _column(self, name: str, dtype: Any, *shape: int) -> spool.Column:
    return spool.Column(pathlib.Path(self.folder) / name, dtype, shape)

  def _fit(self):
    run = self.run
    pieces = corpus_files.cut(run.raw, self.shards)
    targets = [
      corpus_files.cut(corpus, self.workers.count) for corpus in run.targets
    ]
    totals, raw = self._scan(pieces)
    parts = [p for corpus in targets for p in corpus]
    sums = self.workers.map(
      selection_pieces.total, [(p, run.target_settings) for p in parts]
    )
    plan = selection_run.Plan(pieces, totals)
    done = iter(sums)
    counts = [sum(next(done).counts for _ in corpus) for corpus in targets]
    model = selection_run.fit(run, raw, np.stack(counts))
    if run.settings.documents.id_key:
      self._check_names(plan)
    selection_run.check(run, plan)
    return plan, model

  def _scan(self, pieces) -> tuple[list[selection_pieces.Totals], np.ndarray]:
    """Sums over each piece, and the counts that raw is fitted on.

    Some pieces at a time: the counts of all of them would grow with the corpus.
    """
    run, grams = self.run, 0
    totals, raw = [], np.zeros(run.settings.buckets, np.int64)
    for start in range(0, len(pieces), _PIECES):
      some = pieces[start : start + _PIECES]
      sums = self.workers.map(
        spool.scan_piece,
        [(p, run.settings, self._spool(p.index)) for p in some],
      )
      calls = []
      for piece, total in zip(some, sums):
        calls.append((piece, run.settings, total, grams, run.fit_limit))
        grams += total.grams
      raw += sum(self.workers.map(selection_pieces.fitted_counts, calls))
      totals += [selection_pieces.without_counts(total) for total in sums]
    return totals, raw

  def _check_names(self, plan) -> None:
    """Raises ValueError if two records have one id.

    Hashes are compared, a part of their range at a time.
    """
    parts = -(-plan.documents // _NAMES)
    for part in range(parts):
      hashes = np.concatenate(
        [
          values[values % np.uint64(parts) == part]
          for values in (
            self._spool(place.piece.index).read('names')
            for place in plan.places
          )
        ]
      )
      hashes.sort()
      same = hashes[1:][hashes[1:] == hashes[:-1]]
      if len(same):
        selection_run.raise_duplicate(plan, self.run.settings, set(same))

  def _weigh(self, plan, model) -> spool.Column:
    size = plan.documents
    weights = self._column('weights', np.float64, size, len(model.log_diff))
    self.workers.map(
      spool.weigh_piece,
      [
        (self._spool(p.piece.index), model.log_diff, p.first, weights)
        for p in plan.places
      ],
    )
    return weights

  def _draw(
    self, plan, model, weights: spool.Column
  ) -> dict[str, spool.Column]:
    valid = self._column('valid', np.uint8, plan.documents)
    for place in plan.places:
      block = slice(place.first, place.first + place.documents)
      valid[block] = self._spool(place.piece.index).read('valid')
    sets = {}
    for name, draw in selection_run.draws(self.run, model).items():

      def allocate(size, dtype, name=name):
        return self._column(f'{name}.{np.dtype(dtype).name}', dtype, size)

      used = weights if draw.weighted else spool.Zeros(weights.shape)
      sets[name] = dsir.select(used, valid, draw.counts, draw.noise, allocate)
    return sets

  def _describe(self, plan, weights, sets) -> dict[str, np.ndarray]:
    parts = self.workers.map(
      spool.describe_piece,
      [
        (
          self._spool(p.piece.index),
          self.run.settings,
          p.first,
          weights,
          sets,
        )
        for p in plan.places
      ],
    )
    return {
      name: sum(part[name] for part in parts if name in part) for name in sets
    }

  def _write(self, plan, weights, taken, out: pathlib.Path) -> None:
    form, folder = self.run.form, pathlib.Path(self.folder)
    parts = [
      [str(folder / name) for name in selection_pieces.part_names(i, 0, form)]
      for i in range(len(plan.places))
    ]
    self.workers.map(
      spool.write_piece,
      [
        (p, self.run, self._spool(p.piece.index), (weights, taken), names)
        for p, names in zip(plan.places, parts)
      ],
    )
    selection_run.check_unchanged(self.run, corpus_files.describe)
    texts, tables = zip(*parts)
    _join(out / f'selected.{form}', b'', texts)
    header = selection_pieces.COLUMNS.encode()
    _join(out / 'documents.tsv', header, tables)


class _Timed:
  """Adds the seconds of a block to a dict."""

  def __init__(self, seconds: dict[str, float], name: str):
    self._seconds, self._name = seconds, name

  def __enter__(self):
    self._start = time.perf_counter()

  def __exit__(self, *_):
    self._seconds[self._name] = time.perf_counter() - self._start


def _join(path: pathlib.Path, header: bytes, parts: Sequence[str]) -> None:
  with whole(path) as part, part.open('wb') as out:
    out.write(header)
    for name in parts:
      with open(name, 'rb') as file:
        shutil.copyfileobj(file, out, 1 << 20)


def run(
  run: selection_run.Run,
  out: str | os.PathLike,
  workers: int = 1,
  shards: int = 0,
  work_dir: str | os.PathLike | None = None,
) -> dict[str, Any]:
  """Selects documents and writes them.

  Args:
    run: what is selected from what.
    out: folder for `selected.<form>` and `documents.tsv`.
    workers: processes.
    shards: about how many pieces the raw corpus is cut into; 0: several for
      each worker. Doesn't change what is selected.
    work_dir: where the temporary folder is made (about the size of the raw
      texts); default: in `out`.

  Returns:
    The report, see `selection_run.report`, with the seconds of each stage.

  Raises:
    ValueError: bad input; see `corpus_files.batches`, `selection_run.check`
      and `selection_pieces.write`.
  """
  out = pathlib.Path(out)
  out.mkdir(parents=True, exist_ok=True)
  shards = shards or _shards(run, workers)
  folder = tempfile.TemporaryDirectory(prefix='.work-', dir=work_dir or out)
  with folder as name, Workers(workers) as pool:
    return Local(run, pool, shards, name)(out)


def _shards(run, workers: int) -> int:
  """Pieces of at most 64 MB, and at least 4 for each worker."""
  total = sum(source.size for source in run.raw)
  return max(4 * workers, -(-total // (64 << 20)))
