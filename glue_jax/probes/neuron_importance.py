"""Importance of a finished run's neurons over a split; for `moebert`."""

import os

import jax
import numpy as np

from glue_jax.compress import moebert
from glue_jax.devices import cpu
from glue_jax.inference import open_run
from glue_jax.plugs import Apply


def of_run(
  workdir: str | os.PathLike,
  split: str = 'train',
  seed: int | None = None,
  limit: int | None = None,
  data_dir: str | None = None,
) -> tuple[dict[str, np.ndarray], int]:
  """Sums the importance over a split's examples, without dropout.

  Args:
    workdir: of the run; see `open_run.open_run`.
    split: one with labels.
    seed: which of several.
    limit: examples at most, from the split's beginning.
    data_dir: data folder, if not that of the run.

  Returns:
    ({'layer_{i}': (F,) float64}, number of examples).

  Raises:
    ValueError: no such run or split, no labels, or no dense model.
    CheckpointError: no whole checkpoint.
  """
  run = open_run.open_run(workdir, None, seed, (split,), data_dir)
  run.bundle.tables[split].labels()  # raises where there are none
  plain = Apply(run.model)
  objective = run.parts.objective

  def loss(params, batch):
    def evaluated(params, batch, **_):
      return plain(params, batch)

    return objective.loss(evaluated, params, batch, None)[0]

  program = jax.jit(
    lambda params, batch: moebert.importance(loss, params, batch),
    compiler_options=cpu.compiler_options(),
  )
  params = jax.device_put(run.params)
  total: dict[str, np.ndarray] = {}
  count = 0
  for batch in run.bundle.evals[split]:
    rows = np.flatnonzero(batch['weight'] > 0)
    rows = rows[: (limit or len(rows) + count) - count]
    # Rows beyond the limit are kept as padding, so that shapes stay few.
    weight = np.zeros_like(batch['weight'])
    weight[rows] = 1
    importances = program(params, dict(batch, weight=weight))
    for name, value in importances.items():
      total[name] = total.get(name, 0) + np.asarray(value, np.float64)
    count += len(rows)
    if limit and count >= limit:
      break
  return total, count
