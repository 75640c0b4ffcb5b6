"""Times of compiled functions, and the device's own rates."""

import functools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp


def alternate(
  functions: Sequence[Callable], args: Sequence[Any], turns: int
) -> list[float]:
  """Median seconds of each function, in turns, after one call to compile."""
  runs = [functools.partial(fn, *args) for fn in functions]
  return [seconds for seconds, _ in clocks(runs, turns)]


def clocks(
  runs: Sequence[Callable[[], Any]], turns: int
) -> list[tuple[float, float]]:
  """Median (seconds, processor seconds) of each run, in turns, after one call.

  Processor seconds are of this process on all its cores, which other processes
  don't lengthen.
  """
  for run in runs:
    jax.block_until_ready(run())
  readings = [[] for _ in runs]
  for _ in range(turns):
    for run, times in zip(runs, readings, strict=True):
      start = time.perf_counter(), time.process_time()
      jax.block_until_ready(run())
      times.append(
        (time.perf_counter() - start[0], time.process_time() - start[1])
      )
  return [tuple(map(statistics.median, zip(*times))) for times in readings]


def copy_rate(megabytes: int = 128) -> float:
  """Bytes a second, read and written, of a plain addition."""
  x = jnp.zeros(megabytes * 2**18, jnp.float32)
  (seconds,) = alternate([jax.jit(lambda x: x + 1)], (x,), 5)
  return 2 * x.nbytes / seconds


def matrix_rate(size: int = 2048) -> float:
  """Operations a second of a square float32 product."""
  x = jnp.zeros((size, size), jnp.float32)
  (seconds,) = alternate([jax.jit(jnp.dot)], (x, x), 5)
  return 2 * size**3 / seconds
