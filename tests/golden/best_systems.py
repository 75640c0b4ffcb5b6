"""Golden vectors of the consensus rankings: exact counts, ranks and costs.

`*_official` arrays come from the authors' code with stable sorts, the others
from an independent reference with mid-ranks.
"""

import pathlib

import numpy as np

from glue_jax.leaderboard.ranking import agreement, kemeny
from glue_jax.leaderboard.ranking import borda as ranks

Rows = list[tuple]
EXACT = (0.0, 0.0)
TIGHT = (1e-12, 0.0)


def compare(arrays: dict[str, np.ndarray], folder: pathlib.Path) -> Rows:
  """Rows (name, ours, theirs, atol, rtol) for one file's arrays."""
  del folder  # all is in the arrays
  scores = arrays['scores']
  ours = _by_task(scores) if scores.ndim == 2 else _by_instance(scores)
  if 'kemeny_cost' in arrays:
    ours |= _kemeny(scores)
  results = set(arrays) - {'scores'}
  if results != set(ours):
    raise ValueError(f'arrays {sorted(results)}; this compares {sorted(ours)}')
  tight = ('mean_value', 'tau_b_mean_vs_borda_midrank')
  rows = []
  for name in sorted(results):
    theirs = arrays[name]
    if name == 'mean_rank':
      theirs = _equal_means_agree(ours, theirs)
    tolerance = TIGHT if name in tight else EXACT
    rows.append((name, ours[name], theirs, *tolerance))
  return rows


def _by_task(scores: np.ndarray) -> dict[str, np.ndarray]:
  mean = ranks.means([column[:, None] for column in scores.T])
  official, count = ranks.borda(scores, 'row'), ranks.borda(scores)
  return {
    'mean_value': mean,
    'mean_rank': ranks.mid_ranks(mean, 'row'),
    'mean_place': ranks.places(np.round(mean, 9)),
    'borda_count_official': official,
    'borda_rank_official': ranks.mid_ranks(official, 'row'),
    'borda_count_midrank': count,
    'borda_place_midrank': ranks.places(count),
    'tau_b_mean_vs_borda_midrank': agreement.tau(mean, count),
    'pairwise_wins': kemeny.pairwise_wins(scores),
  }


def _kemeny(scores: np.ndarray) -> dict[str, np.ndarray]:
  borda = np.argsort(-ranks.borda(scores), kind='stable')
  return {
    'kemeny_cost': kemeny.consensus(scores).cost,
    'kemeny_optimal_orders': np.array(kemeny.optima(scores)),
    'borda_order_kemeny_cost': kemeny.cost(kemeny.pairwise_wins(scores), borda),
  }


def _by_instance(scores: np.ndarray) -> dict[str, np.ndarray]:
  tasks = list(np.moveaxis(scores, 2, 0))
  ours = {}
  for ties, name in (('row', 'official'), ('mid', 'midrank')):
    two, first = ranks.two_level(tasks, ties=ties)
    one = ranks.one_level(tasks, ties)
    ours[f'one_level_count_{name}'] = one
    ours[f'two_level_count_{name}'] = two
    if ties == 'row':
      ours['one_level_rank_official'] = ranks.mid_ranks(one, 'row')
      ours['two_level_rank_official'] = ranks.mid_ranks(two, 'row')
      ours['per_metric_rank_official'] = ranks.mid_ranks(first, 'row').T
    else:
      ours['two_level_first_counts_midrank'] = first
      ours['one_level_place_midrank'] = ranks.places(one)
      ours['two_level_place_midrank'] = ranks.places(two)
  mean = ranks.means(tasks)
  return ours | {
    'mean_value': mean,
    'mean_rank': ranks.mid_ranks(mean, 'row'),
  }


def _equal_means_agree(ours: dict, theirs: np.ndarray) -> np.ndarray:
  """Takes our order for means that differ by rounding only."""
  mean, rank = ours['mean_value'], ours['mean_rank']
  theirs = theirs.astype(float)
  for i in np.flatnonzero(rank != theirs):
    if np.sum(np.abs(mean - mean[i]) < 1e-9) > 1:
      theirs[i] = rank[i]
  return theirs
