"""TIES: trim, elect signs, disjoint mean (Yadav et al. 2023, arXiv 2306.01708).

Trimming and the election's fall-back look at the whole vector of deltas. They
take passes over the files instead of a vector in memory: two for each model's
threshold, one for the fall-back.
"""

from collections.abc import Sequence

import numpy as np

from glue_jax.merging import average
from glue_jax.merging.order import count_of, kth_magnitude
from glue_jax.merging.stream import Weights


def threshold(base: Weights, model: Weights, mask_rate: float) -> np.float32:
  """Returns the magnitude from which on deltas are kept.

  It is the k-th smallest of all n, k = int(n * mask_rate), so that n - k + 1
  entries are kept, and ties. k = 0, an error in the official code, keeps all.

  Args:
    base: pre-trained.
    model: fine-tuned.
    mask_rate: share that is trimmed, 0 to 1.

  Raises:
    ValueError: the rate is not from 0 to 1.
  """
  if not 0 <= mask_rate <= 1:
    raise ValueError(f'TIES mask rate {mask_rate}: expected 0 to 1')
  size = sum(t.rows * t.row_size for t in model.tensors.values())
  k = count_of(size, mask_rate)

  def deltas():
    for name, tensor in model.tensors.items():
      for span in tensor.spans():
        yield tensor.read(*span) - base.tensors[name].read(*span)

  return kth_magnitude(deltas, k) if k else np.float32(0)


def ties(
  base: Weights,
  models: Sequence[Weights],
  mask_rate: float,
  scale: float,
  thresholds: Sequence[np.float32] | None = None,
) -> Weights:
  """Returns theta_0 + scale * the disjoint mean of the trimmed deltas.

  Args:
    base: pre-trained.
    models: fine-tuned, with the names of the base.
    mask_rate: see `threshold`.
    scale: lambda.
    thresholds: of the models, if they are known.
  """
  if thresholds is None:
    thresholds = [threshold(base, model, mask_rate) for model in models]
  everywhere = sorted(models[0].tensors)  # the official vector's order

  def signs(name, arrays, span):
    del name, span
    return np.sign(sum(_trimmed(arrays, thresholds)))

  elected = average.elementwise([base, *models], signs)
  total = 0
  for name in everywhere:
    for chunk in elected.tensors[name].chunks():
      total += int(chunk.sum(dtype=np.float64))
  majority = np.float32(np.sign(total))

  def combine(name, arrays, span):
    del name, span
    kept = _trimmed(arrays, thresholds)
    sign = np.sign(sum(kept))
    sign = np.where(sign == 0, majority, sign)
    agree = [np.where(np.sign(delta) == sign, delta, 0) for delta in kept]
    counts = sum((delta != 0).astype(np.float32) for delta in agree)
    mean = sum(agree) / np.maximum(counts, 1)
    return arrays[0] + np.float32(scale) * mean

  return average.elementwise([base, *models], combine)


def _trimmed(arrays, thresholds) -> list[np.ndarray]:
  zero, *arrays = arrays
  kept = []
  for array, least in zip(arrays, thresholds, strict=True):
    delta = array - zero
    kept.append(np.where(np.abs(delta) >= least, delta, np.float32(0)))
  return kept
