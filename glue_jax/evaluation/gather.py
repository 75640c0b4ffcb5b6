"""Runs a prediction on every batch and gathers its rows on the host.

The rows of all processes come together, padding rows are dropped by their
weight, and exactly the split's examples must be left, each once.
"""

import collections
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

PredictFn = Callable[[Mapping[str, np.ndarray]], Mapping[str, Any]]

# Batches whose results may be on the device while the host waits for the first.
_IN_FLIGHT = 4


def gather(
  predict_fn: PredictFn, batches: Any, keep: Sequence[str] = ()
) -> dict[str, Any]:
  """Runs all batches and returns their rows sorted by idx, padding dropped.

  Args:
    predict_fn, batches: as in `evaluate.evaluate`.
    keep: fields of the batch to return as well.

  Returns:
    {'idx': (n,), name: (n, ...) array, or a list of n arrays where the batches
    had different shapes}.

  Raises:
    RuntimeError: the rows are not exactly `batches.num_examples` examples.
  """
  columns: dict[str, list[np.ndarray]] = collections.defaultdict(list)
  waiting: collections.deque = collections.deque()

  def fetch():
    rows = _to_host(waiting.popleft())
    real = rows.pop('weight') > 0
    for name, value in rows.items():
      columns[name].append(value[real])

  for batch in batches:
    fields = {name: batch[name] for name in ('idx', 'weight', *keep)}
    waiting.append(fields | dict(predict_fn(batch)))
    if len(waiting) >= _IN_FLIGHT:
      fetch()
  while waiting:
    fetch()
  if not columns:
    raise RuntimeError('evaluation got no batches; expected at least one')
  _check_counts(np.concatenate(columns['idx']), batches.num_examples)
  order = np.argsort(np.concatenate(columns['idx']), kind='stable')
  return {name: _in_order(parts, order) for name, parts in columns.items()}


def _to_host(rows: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """All processes' rows; global arrays come back whole, local ones joined."""
  if jax.process_count() == 1:
    return {k: np.asarray(v) for k, v in jax.device_get(dict(rows)).items()}
  from jax.experimental import multihost_utils

  return {
    name: np.asarray(multihost_utils.process_allgather(value, tiled=True))
    for name, value in sorted(rows.items())
  }


def _check_counts(idx: np.ndarray, expected: int) -> None:
  distinct = len(np.unique(idx))
  if len(idx) == expected == distinct:
    return
  raise RuntimeError(
    f'evaluation returned {len(idx)} rows, {distinct} of them distinct; the '
    f'split has {expected} examples. Every process must get its own slice of '
    'every batch, and padding rows must have weight 0'
  )


def _in_order(parts: list[np.ndarray], order: np.ndarray):
  if len({part.shape[1:] for part in parts}) == 1:
    return np.concatenate(parts)[order]
  rows = [row for part in parts for row in part]
  return [rows[i] for i in order]
