"""Runs the cells of a sweep as processes, and tables what they left."""

import pathlib
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent import futures

from glue_jax.reporting import tables
from glue_jax.studies import sweep


class Runner:
  """Runs cells as processes, and passes SIGTERM on so that they save.

  Attributes:
    workdir, command: see `__init__`.
    stopped: whether `stop` was called.
  """

  def __init__(
    self,
    workdir: pathlib.Path,
    command: Callable[[sweep.Cell], Sequence[str]],
  ):
    """Args: workdir: the sweep's. command: cell -> its command line."""
    self.workdir = workdir
    self.command = command
    self._running = set()
    self._lock = threading.Lock()
    self.stopped = False

  def stop(self, *_) -> None:
    """Ends what is running and starts nothing more; a signal handler."""
    with self._lock:
      self.stopped = True
      for process in self._running:
        process.terminate()

  def run_all(
    self, cells: Sequence[sweep.Cell], jobs: int
  ) -> dict[int, int | None]:
    """Runs cells, several at a time.

    Args:
      cells: those to run.
      jobs: how many at a time.

    Returns:
      {number of the cell: exit code, None if the sweep was stopped}.
    """
    with futures.ThreadPoolExecutor(max(1, jobs)) as pool:
      return dict(zip([c.index for c in cells], pool.map(self.run, cells)))

  def run(
    self, cell: sweep.Cell, enough: Callable[[], bool] | None = None
  ) -> int | None:
    """Runs one cell, its output in `<cell>.log`; returns the exit code.

    Args:
      cell: the cell.
      enough: asked every second; True ends the cell early, which gives 0.

    Returns:
      The exit code; None if the sweep was stopped.
    """
    log = self.workdir / f'{cell.name}.log'
    with log.open('a') as file:
      with self._lock:
        if self.stopped:
          return None
        process = subprocess.Popen(
          self.command(cell), stdout=file, stderr=subprocess.STDOUT
        )
        self._running.add(process)
      print(f'cell {cell.index} started: {cell.name}', flush=True)
      code = self._wait(process, enough)
      with self._lock:
        self._running.discard(process)
        if self.stopped and enough:
          return None
    if self.stopped and code:
      print(f'cell {cell.index} stopped', flush=True)
    elif code:
      tail = log.read_text(errors='replace').splitlines()[-5:]
      print(f'cell {cell.index} FAILED with exit code {code}, see {log}:')
      print('\n'.join(f'  {line}' for line in tail), flush=True)
    else:
      print(f'cell {cell.index} finished', flush=True)
    return code

  def _wait(self, process, enough) -> int:
    while enough:
      try:
        return process.wait(timeout=1)
      except subprocess.TimeoutExpired:
        if enough():
          process.terminate()
          process.wait()
          return 0
    return process.wait()


def report(
  cells: Sequence[sweep.Cell], workdir: pathlib.Path, failed: set[int]
) -> str:
  """Writes the table of all cells to `sweep.csv`.

  Args:
    cells: all of the sweep.
    workdir: the sweep's.
    failed: numbers of the cells that failed now.

  Returns:
    What a person sees: the table, and the means over seeds.
  """
  rows = [sweep.read_cell(cell, workdir) for cell in cells]
  for row in rows:
    if row['cell'] in failed:
      row['state'] = 'FAILED'
  rows = sweep.rank(rows)
  tables.write_csv(rows, workdir / 'sweep.csv')
  lines = [tables.table(rows), f'written to {workdir / "sweep.csv"}']
  if 'seeds' in rows[0]:
    lines += ['', 'over seeds (mean, sample sd, count of finished cells):']
    lines += [tables.table(sweep.over_seeds(rows))]
  return '\n'.join(lines)
