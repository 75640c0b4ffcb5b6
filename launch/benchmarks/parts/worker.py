"""One side of a comparison in a process of its own, told what to do by lines.

Both sides live at once and take turns, so that whatever else the machine does
falls on both; each has its own memory, threads and libraries.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np


class Worker:
  """The parent's end: starts `python -m MODULE SETTINGS` and talks to it."""

  def __init__(self, module: str, settings: Mapping[str, Any]):
    """Starts the process.

    Args:
      module: has a `main` that calls `serve`.
      settings: JSON; 'threads' (0 for all cores) holds for any worker.
    """
    self.name = module
    self._process = subprocess.Popen(
      [sys.executable, '-m', module, json.dumps(dict(settings))],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )

  def __call__(self, op: str, **arguments: Any) -> Any:
    """Runs one operation and returns its result.

    Raises:
      RuntimeError: the process died; its own message is on stderr.
    """
    line = json.dumps({'op': op, **arguments})
    try:
      self._process.stdin.write(line + '\n')
      self._process.stdin.flush()
      return json.loads(self._process.stdout.readline())
    except (BrokenPipeError, ValueError):
      code = self._process.wait()
      raise RuntimeError(f'{self.name} died at {line}, exit {code}') from None

  def close(self) -> None:
    """Ends the process."""
    self._process.stdin.close()
    self._process.wait()


OPERATIONS = ('train', 'infer', 'products', 'device')


def settings() -> dict[str, Any]:
  """Returns the settings of this worker, with its threads already limited.

  Call it before any numerical library is imported.
  """
  values = json.loads(sys.argv[1])
  cores = sorted(os.sched_getaffinity(0))
  values['threads'] = min(values['threads'] or len(cores), len(cores))
  os.sched_setaffinity(0, cores[: values['threads']])
  os.environ['OMP_NUM_THREADS'] = str(values['threads'])
  return values


def serve(side: Any, operations: Sequence[str] = OPERATIONS) -> None:
  """Answers the parent until it closes the pipe.

  Args:
    side: has methods that take the arguments that the parent sends and return
      JSON. 'rss' is added: peak resident memory in MB.
    operations: their names.
  """
  # What libraries print must not get between the answers.
  answers = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)

  def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

  table = {name: getattr(side, name) for name in operations} | {'rss': peak}
  for line in sys.stdin:
    arguments = json.loads(line)
    result = table[arguments.pop('op')](**arguments)
    answers.write(json.dumps(result) + '\n')
    answers.flush()


def load_batches(paths: list[str]) -> list[dict[str, np.ndarray]]:
  """Reads batches that the parent wrote as .npz."""
  return [dict(np.load(path)) for path in paths]


def prompts(rows: int, length: int, vocab_size: int) -> dict[str, np.ndarray]:
  """Returns random input_ids (rows, length) and an attention_mask of ones."""
  rng = np.random.default_rng(0)
  ids = rng.integers(1, vocab_size, (rows, length)).astype(np.int32)
  return {'input_ids': ids, 'attention_mask': np.ones_like(ids)}


def timed(run: Callable[[Any], None], batches: list[Any], repeat: int) -> float:
  """Returns seconds for `repeat` passes over the batches."""
  start = time.perf_counter()
  for _ in range(repeat):
    for batch in batches:
      run(batch)
  return time.perf_counter() - start


def product_shapes(
  rows: int, sizes: Mapping[str, int]
) -> list[tuple[int, tuple[int, ...], tuple[int, ...], str]]:
  """Matrix products of one training step of an encoder.

  Args:
    rows: B * L.
    sizes: layers, width, heads, inner (feed-forward width), length; and
      keys_only, blocks of which only keys and values are computed of all
      positions (the last one, where the head reads the first token).

  Returns:
    (how many a step, left shape, right shape, einsum) of each; those of the
    word table and the head are left out (a lookup, and 0.1 %).
  """
  n, d, f = sizes['layers'], sizes['width'], sizes['inner']
  h, length = sizes['heads'], sizes['length']
  shapes = []
  narrow = 4 * n + 2 * sizes['keys_only']
  for count, a, b in ((narrow, d, d), (n, d, f), (n, f, d)):
    shapes += [
      (count, (rows, a), (a, b), 'ij,jk->ik'),
      (count, (rows, b), (a, b), 'ik,jk->ij'),
      (count, (rows, a), (rows, b), 'ij,ik->jk'),
    ]
  batch = rows // length
  square, tall = (batch, h, length, length), (batch, h, length, d // h)
  # Scores and their two gradients, weighted values and theirs.
  shapes += [
    (2 * n, tall, (batch, h, d // h, length), 'bhlk,bhkm->bhlm'),
    (2 * n, square, tall, 'bhlm,bhmk->bhlk'),
    (2 * n, (batch, h, d // h, length), square, 'bhkl,bhlm->bhkm'),
  ]
  return shapes


def operations(left: tuple, right: tuple, spec: str) -> int:
  """Floating-point operations of an einsum of two operands."""
  names = spec.split('->')[0].split(',')
  size = dict(zip(names[0], left)) | dict(zip(names[1], right))
  return 2 * int(np.prod(list(size.values())))


def best_time(run: Callable[[], Any], repeat: int = 7) -> float:
  """Returns the shortest of several runs in seconds, after one unmeasured."""
  run()
  return min(timed(lambda _: run(), [None], 1) for _ in range(repeat))
