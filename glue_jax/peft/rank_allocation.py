"""A rank for each matrix, from the spectrum of its pretrained weights.

LaMDA++ (Azizi et al. 2024, arXiv 2406.12832) allocates ranks by a "normalised
spectrum analysis of the pretrained weights"; its exact formula is not
confirmed. The definition here is ours: a matrix whose energy is spread out
needs more rank. `score` may be replaced by the published one.
"""

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

# (singular values (n,) descending, mean rank) -> how little rank is needed.
Score = Callable[[np.ndarray, int], float]


def normalised_energy(sigma: np.ndarray) -> np.ndarray:
  """Returns E(r) = sum_{i<=r} sigma_i^2 / sum_i sigma_i^2 for r = 1..n, (n,).

  Args:
    sigma: (n,) singular values, descending.

  Raises:
    ValueError: values that aren't finite, or nothing but zeros.
  """
  squares = np.square(np.asarray(sigma, np.float64))
  total = squares.sum()
  if not np.isfinite(total) or total <= 0:
    raise ValueError(
      f'singular values must be finite and not all zero; their squares sum to '
      f'{total}'
    )
  return squares.cumsum() / total


def energy(sigma: np.ndarray, rank: int) -> float:
  """Returns E(rank), the share of the energy in the first `rank` directions."""
  return float(normalised_energy(sigma)[rank - 1])


def allocate(
  spectra: Mapping[str, np.ndarray],
  mean_rank: int,
  candidates: Sequence[int] = (),
  score: Score = energy,
) -> dict[str, int]:
  """Returns a rank for each matrix, at most `mean_rank` on average.

  The third of the matrices with the lowest score starts at the largest
  candidate, the third with the highest at the smallest, the rest at
  `mean_rank`. Then, while the sum exceeds the budget, the matrix with the
  highest score that can still go down goes down one candidate; then, while a
  step up fits into the budget, the one with the lowest score whose step fits
  goes up. Equal scores: the lower layer first, then the name.

  Args:
    spectra: {path of a layer: singular values (n,), descending}.
    mean_rank: R.
    candidates: allowed ranks, R among them; () = R/2, R, 2R.
    score: low = needs much rank; by default `energy`.

  Raises:
    ValueError: no matrix, candidates without R or below 1, or a candidate above
      the size of a matrix.
  """
  steps = sorted(set(candidates or (mean_rank // 2, mean_rank, 2 * mean_rank)))
  if not spectra or mean_rank not in steps or steps[0] < 1:
    raise ValueError(
      f'rank allocation needs matrices and candidates of 1 or more with the '
      f'mean rank {mean_rank} among them; found {len(spectra)} and {steps}'
    )
  small = {n: len(s) for n, s in spectra.items() if len(s) < steps[-1]}
  if small:
    raise ValueError(
      f'candidate rank {steps[-1]} exceeds the size of {small}; lower the mean '
      'rank or give smaller candidates'
    )
  scores = {name: score(sigma, mean_rank) for name, sigma in spectra.items()}
  order = sorted(spectra, key=lambda name: (scores[name], *_place(name)))
  count, middle = len(order), steps.index(mean_rank)
  level = {
    name: len(steps) - 1
    if 3 * i < count
    else (0 if 3 * i >= 2 * count else middle)
    for i, name in enumerate(order)
  }
  left = mean_rank * count - sum(steps[at] for at in level.values())
  while left < 0:
    name = next(n for n in reversed(order) if level[n])
    left += steps[level[name]] - steps[level[name] - 1]
    level[name] -= 1
  while True:

    def rise(name):
      return steps[level[name] + 1] - steps[level[name]]

    fits = (n for n in order if level[n] + 1 < len(steps) and rise(n) <= left)
    name = next(fits, None)
    if name is None:
      return {name: steps[level[name]] for name in spectra}
    left -= rise(name)
    level[name] += 1


def _place(name: str) -> tuple[int, str]:
  """The layer's number (-1 where there is none), and the name."""
  number = re.search(r'layer_(\d+)', name)
  return (int(number[1]) if number else -1), name
