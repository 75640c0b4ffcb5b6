"""Time and memory of building a leaderboard's site: 500 methods x 10 tasks.

Invents the leaderboard, then builds its site three times by the command in
processes of their own: from nothing, again as it is, and after one row of one
file of predictions was changed. Rows: seconds, those of all processes on a
core, the largest process in MB, methods scored, files written. The second build
must write nothing.

  python -m launch.benchmark leaderboard [--methods=500] [--tasks=10] \\
    [--examples=1000] [--seeds=1] [--jobs=N] [--workdir=DIR]
"""

import os
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

from absl import flags

from glue_jax.reporting.tables import results_table

FLAGS = flags.FLAGS
BOUND = 60.0  # seconds of the first build, at the flags' defaults


def define_flags() -> None:
  """Defines the flags; only of the benchmark that runs."""
  flags.DEFINE_integer('methods', 500, 'Invented methods.', 1)
  flags.DEFINE_integer('tasks', 10, 'Invented tasks.', 1)
  flags.DEFINE_integer('examples', 1000, 'Examples of each task.', 1)
  flags.DEFINE_integer('seeds', 1, 'Seeds of each method on each task.', 1)
  flags.DEFINE_integer('jobs', os.cpu_count() or 1, 'Processes.', 1)
  flags.DEFINE_string('workdir', None, 'New folder that keeps everything.')


def build(folder: pathlib.Path, jobs: int) -> dict[str, Any]:
  """Runs one build; returns its seconds, memory and counts.

  Args:
    folder: holds `board`; gets `site` and `cache`.
    jobs: processes.

  Raises:
    RuntimeError: the build failed.
  """
  command = [sys.executable, '-m', 'launch.leaderboard', 'build']
  command += [f'--board={folder / "board"}', f'--out={folder / "site"}']
  command += [f'--cache={folder / "cache"}', f'--jobs={jobs}']
  start, before = time.perf_counter(), _children().ru_utime
  done = subprocess.run(command, capture_output=True, text=True)
  spent = time.perf_counter() - start
  if done.returncode:
    raise RuntimeError(f'{" ".join(command)}:\n{done.stdout}{done.stderr}')
  pattern = r'\((\d+) scored now\).* (\d+) files written, (\d+) kept'
  scored, written, kept = map(int, re.search(pattern, done.stdout).groups())
  # Of all processes that ended so far the largest; in kB on Linux.
  peak = _children().ru_maxrss // 1000
  return {
    'seconds': round(spent, 1),
    'CPU s': round(_children().ru_utime - before, 1),
    'peak MB': peak,
    'scored': scored,
    'written': written,
    'kept': kept,
  }


def _children() -> resource.struct_rusage:
  return resource.getrusage(resource.RUSAGE_CHILDREN)


def measure(folder: pathlib.Path) -> list[dict[str, Any]]:
  """Invents the leaderboard and builds it three times; one row a build."""
  from launch.miniatures import jarvis_leaderboard
  from launch.miniatures.parts import invented_board

  board = folder / 'board'
  invented_board.make(
    board, FLAGS.methods, FLAGS.tasks, FLAGS.seeds, FLAGS.examples
  )
  rows = [{'build': 'first', **build(folder, FLAGS.jobs)}]
  rows.append({'build': 'again', **build(folder, FLAGS.jobs)})
  first = min(board.glob('contributions/method-0/task-0/**/*.jsonl'))
  jarvis_leaderboard.tamper(first)
  rows.append({'build': 'one row changed', **build(folder, FLAGS.jobs)})
  return rows


def main(argv: list[str]) -> None:
  """Prints the table; exits 1 if a bound is missed."""
  del argv
  with tempfile.TemporaryDirectory() as folder:
    home = pathlib.Path(FLAGS.workdir or folder)
    rows = measure(home)
  print(results_table(rows))
  if rows[0]['seconds'] > BOUND or rows[1]['written'] or rows[1]['scored']:
    sys.exit(f'first build over {BOUND:g} s, or the second one not empty')
  if rows[2]['scored'] != 1:
    sys.exit(f'{rows[2]["scored"]} methods scored after one was changed')
