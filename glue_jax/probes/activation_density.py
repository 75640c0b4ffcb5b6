"""Density of a finished run's feed-forward activations over a split.

See objectives/density.py. Measured without dropout, with what the run's method
does at inference, so that runs with and without the density loss compare.
"""

import dataclasses
import os
from typing import Any

import jax.numpy as jnp
import numpy as np

from glue_jax.devices import sharding
from glue_jax.evaluation.gather import gather
from glue_jax.inference import open_run
from glue_jax.method import Objective
from glue_jax.methods import deft
from glue_jax.objectives import density
from glue_jax.training import session


def of_run(
  workdir: str | os.PathLike,
  split: str = 'validation',
  seed: int | None = None,
  data_dir: str | None = None,
  threshold: float = density.THRESHOLD,
) -> dict[str, Any]:
  """Measures the share of |activation| > threshold, averaged over examples.

  Args:
    workdir: of the run; see `open_run.open_run`.
    split: of its task.
    seed: which of several.
    data_dir: data folder, if not that of the run.
    threshold: see `density.density`.

  Returns:
    {'examples': n, 'layers': {'layer_{i}': share}, 'density': mean of the
    layers, 'density_real': the same over real tokens only}. The former count
    padding, as published: it depends on the lengths that batches are padded to.

  Raises:
    ValueError: no such run or split, or a model without such activations.
    CheckpointError: no whole checkpoint.
  """
  run = open_run.open_run(workdir, None, seed, (split,), data_dir)
  # Only the share is read of what the plug captures.
  plug = deft.plug(density.EPS, threshold)
  apply = run.parts.apply.replace(plugs=(*run.parts.apply.plugs, plug))

  blocks: list[str] = []

  def measure(apply, params, batch):
    outputs = apply(params, batch)
    shares = {}
    for name, padding in (('all', True), ('real', False)):
      layers = deft.by_layer(outputs, batch, padding)[deft.SHARE]
      blocks[:] = layers
      shares[name] = jnp.stack(list(layers.values()), axis=1)
    return shares

  objective = Objective(run.parts.objective.loss, measure)
  parts = dataclasses.replace(
    run.parts, apply=apply, objective=objective, programs={}
  )
  with sharding.enter(parts.mesh):
    program = session.predict_fn(parts, run.host.state, run.host.variant)
    rows = gather(program, run.bundle.evals[split])
  layers = np.asarray(rows['all']).mean(0)
  return {
    'examples': len(rows['idx']),
    'layers': {name: float(x) for name, x in zip(_names(blocks), layers)},
    'density': float(layers.mean()),
    'density_real': float(np.asarray(rows['real']).mean()),
  }


def _names(blocks: list[str]) -> list[str]:
  """The blocks' names; with the stack's before them where there are two."""
  stacks = {block.partition('/')[0] for block in blocks}
  return [b if len(stacks) > 1 else b.partition('/')[2] for b in blocks]
