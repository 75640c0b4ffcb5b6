"""How well two rankings of the same systems agree."""

import numpy as np
from scipy import stats


def tau(first: np.ndarray, second: np.ndarray) -> float:
  """Kendall's tau-b of two values per system (counts, means); handles ties.

  NaN where one of them is constant: it orders nothing.
  """
  return float(stats.kendalltau(first, second, variant='b').statistic)


def distance(first: np.ndarray, second: np.ndarray) -> float:
  """Kendall distance: the share of the pairs in another order, 0 to 1.

  A pair that is tied in just one of the two counts a half.

  Args:
    first: (systems,) values, higher is better.
    second: (systems,) values of the same systems.
  """
  upper = np.triu_indices(len(first), 1)
  signs = [
    np.sign(np.subtract.outer(values, values))[upper]
    for values in (np.asarray(first), np.asarray(second))
  ]
  return float(np.mean(np.abs(signs[0] - signs[1])) / 2)


def top(values: np.ndarray, k: int) -> set[int]:
  """Indices of the k best systems; of equal values the earlier ones."""
  return set(np.argsort(-np.asarray(values), kind='stable')[:k].tolist())


def top_share(first: np.ndarray, second: np.ndarray, k: int) -> float:
  """|top k of both| / k."""
  return len(top(first, k) & top(second, k)) / k


def top_tau(first: np.ndarray, second: np.ndarray, k: int) -> float:
  """tau of the systems that both have in their top k; NaN below two."""
  both = sorted(top(first, k) & top(second, k))
  if len(both) < 2:
    return float('nan')
  return tau(np.asarray(first)[both], np.asarray(second)[both])
