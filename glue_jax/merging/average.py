"""Merges that are linear in the weights: average and task arithmetic.

Average: Wortsman et al. 2022, arXiv 2203.05482. Task arithmetic: Ilharco et al.
2023, arXiv 2212.04089, theta_0 + lambda * sum_t (theta_t - theta_0).
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np

from glue_jax.merging.stream import Tensor, Weights


def elementwise(
  models: Sequence[Weights],
  combine: Callable[[str, list[np.ndarray], tuple[int, int]], np.ndarray],
) -> Weights:
  """Returns lazy tensors that combine those of several models.

  Args:
    models: with the same names and shapes.
    combine: `combine(name, arrays, (start, stop))` gets the same rows of each
      model and returns as many.
  """

  def merged(name: str) -> Tensor:
    parts = [model.tensors[name] for model in models]

    def read(start, stop):
      arrays = [part.read(start, stop) for part in parts]
      return combine(name, arrays, (start, stop))

    whole = any(part.whole for part in parts)
    return dataclasses.replace(parts[0], read=read, whole=whole)

  tensors = {name: merged(name) for name in models[0].tensors}
  return Weights('merged', models[0].where, tensors)


def average(
  models: Sequence[Weights], shares: Sequence[float] | None = None
) -> Weights:
  """Returns the mean of the models, or their sum weighted by `shares`."""
  if shares is None:
    shares = [1 / len(models)] * len(models)

  def combine(name, arrays, span):
    del name, span
    # In double precision, so that the mean of equal models is that model.
    total = sum(np.float64(s) * a for s, a in zip(shares, arrays, strict=True))
    return total.astype(np.float32)

  return elementwise(models, combine)


def task_arithmetic(
  base: Weights, models: Sequence[Weights], scale: float
) -> Weights:
  """Returns theta_0 + scale * the SUM of the deltas (not their mean)."""

  def combine(name, arrays, span):
    del name, span
    zero, *arrays = arrays
    deltas = (array - zero for array in arrays)
    return zero + np.float32(scale) * functools.reduce(np.add, deltas)

  return elementwise([base, *models], combine)
