"""The Kemeny consensus: the order that contradicts the fewest votes.

W[i, j] = number of columns where i strictly beats j; an order p (best first)
costs C(p) = sum over a < b of W[p_b, p_a], the voters who prefer the later one.
Ties add a constant to every order and are left out. Finding the best order is
NP-hard: exact here to `EXACT` systems by dynamic programming over subsets,
above that a local search whose result says that it is approximate.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from glue_jax.leaderboard.ranking import borda

EXACT = 16


@dataclasses.dataclass(frozen=True)
class Consensus:
  """An order of systems.

  Attributes:
    order: indices of the systems, best first.
    cost: C(order), votes against it.
    exact: whether no order is cheaper; False for the local search.
  """

  order: tuple[int, ...]
  cost: int
  exact: bool


def pairwise_wins(scores: np.ndarray) -> np.ndarray:
  """Returns W (systems, systems): columns where i strictly beats j.

  Args:
    scores: (systems, columns), higher is better; a missing score (NaN) neither
      wins nor loses.
  """
  scores = np.asarray(scores, np.float64)
  scores = scores.reshape(len(scores), -1)
  return np.stack([np.sum(row > scores, axis=1) for row in scores])


def cost(wins: np.ndarray, order: np.ndarray | Sequence[int]) -> int:
  """Returns C(order): votes for the later one, over all pairs of the order."""
  order = np.asarray(order)
  return int(np.sum(np.tril(wins[np.ix_(order, order)], -1)))


def consensus(scores: np.ndarray) -> Consensus:
  """Returns the Kemeny order of systems.

  Of several optima the one with the fewest inversions against the Borda order,
  and of those the first by index.

  Args:
    scores: (systems, columns), higher is better, NaN where missing.
  """
  wins = pairwise_wins(scores)
  counts = borda.borda(scores)
  # A system without any score comes last.
  counts = np.where(np.isnan(counts), -np.inf, counts)
  size = len(wins)
  if size > EXACT:
    start = sorted(range(size), key=lambda i: (-counts[i], i))
    moved = _insert_anywhere(wins, start)
    return Consensus(tuple(moved), cost(wins, moved), False)
  # Against the Borda order is a pair whose later system has the higher count;
  # all such pairs together weigh less than one vote.
  inverted = counts[:, None] > counts[None, :]
  combined = wins.astype(np.int64) * size**2 + inverted
  best = next(_optima(combined))
  return Consensus(best, cost(wins, best), True)


def optima(scores: np.ndarray, limit: int = 1000) -> list[tuple[int, ...]]:
  """Returns all optimal orders in lexicographic order, at most `limit`.

  Raises:
    ValueError: more than `EXACT` systems.
  """
  wins = pairwise_wins(scores)
  if len(wins) > EXACT:
    raise ValueError(
      f'{len(wins)} systems; all optima are found for at most {EXACT}'
    )
  return [order for order, _ in zip(_optima(wins), range(limit))]


def _optima(wins: np.ndarray) -> Iterator[tuple[int, ...]]:
  """Yields the cheapest orders, lexicographically.

  best[S] is the cheapest order of the set S: of i in S placed first, the cost
  of the rest plus the votes of the rest against i.
  """
  size = len(wins)
  wins = wins.astype(np.int64)
  subsets = np.arange(1 << size)
  against = np.zeros((size, 1 << size), np.int64)  # [i, S]: sum of W[j, i]
  for j in range(size):
    bit = 1 << j
    against[:, bit : 2 * bit] = against[:, :bit] + wins[j][:, None]
  best = np.zeros(1 << size, np.int64)
  count = np.bitwise_count(subsets)
  for members in range(1, size + 1):
    sets = subsets[count == members]
    options = np.full((size, len(sets)), np.iinfo(np.int64).max)
    for i in range(size):
      has = (sets >> i) & 1 == 1
      rest = sets[has] ^ (1 << i)
      options[i, has] = best[rest] + against[i, rest]
    best[sets] = options.min(axis=0)

  def orders(left: int) -> Iterator[tuple[int, ...]]:
    if not left:
      yield ()
    for i in range(size):
      rest = left ^ (1 << i)
      if left >> i & 1 and best[left] == best[rest] + against[i, rest]:
        for tail in orders(rest):
          yield (i, *tail)

  return orders((1 << size) - 1)


def _insert_anywhere(wins: np.ndarray, start: list[int]) -> list[int]:
  """Moves single systems to where they cost least, until nothing improves."""
  order = np.array(start)
  improved = True
  while improved:
    improved = False
    for system in order.copy():
      at = int(np.flatnonzero(order == system)[0])
      others = np.delete(order, at)
      # At position q the ones before it must not lose to it, and so on.
      loses = np.concatenate([[0], np.cumsum(wins[system, others])])
      beaten = np.cumsum(wins[others, system][::-1])[::-1]
      price = loses + np.concatenate([beaten, [0]])
      q = int(np.argmin(price))
      if price[q] < price[at]:
        order = np.insert(others, q, system)
        improved = True
  return order.tolist()
