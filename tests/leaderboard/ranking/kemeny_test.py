"""The Kemeny order against all permutations."""

import itertools

import numpy as np
import pytest

from glue_jax.leaderboard.ranking import borda, kemeny


def all_costs(wins):
  orders = itertools.permutations(range(len(wins)))
  return {order: kemeny.cost(wins, order) for order in orders}


@pytest.mark.parametrize('size', range(1, 8))
def test_optima_are_those_of_all_permutations(size):
  rng = np.random.default_rng(size)
  for _ in range(5):
    scores = rng.integers(0, 4, (size, 5)).astype(float)
    costs = all_costs(kemeny.pairwise_wins(scores))
    least = min(costs.values())
    best = sorted(order for order in costs if costs[order] == least)
    assert kemeny.optima(scores) == best
    consensus = kemeny.consensus(scores)
    assert (consensus.cost, consensus.exact) == (least, True)
    count = borda.borda(scores)

    def inversions(order, count=count):
      return sum(
        count[a] < count[b] for a, b in itertools.combinations(order, 2)
      )

    assert consensus.order == min((inversions(o), o) for o in best)[1]


def test_the_cost_counts_the_votes_against():
  scores = np.array([[3.0, 3, 1], [2, 1, 2], [1, 2, 3]])
  wins = kemeny.pairwise_wins(scores)
  assert wins.tolist() == [[0, 2, 2], [1, 0, 1], [1, 2, 0]]
  assert kemeny.cost(wins, (0, 2, 1)) == 1 + 1 + 1
  assert kemeny.cost(wins, (1, 2, 0)) == 2 + 2 + 2


def test_a_condorcet_winner_is_first_where_borda_fails():
  # Three voters prefer 0 to 1; two put it last.
  scores = np.array([[2.0, 2, 2, 0, 0], [1, 1, 1, 2, 2], [0, 0, 0, 1, 1]])
  assert borda.places(borda.borda(scores))[1] == 1
  assert kemeny.consensus(scores).order[0] == 0


@pytest.mark.parametrize('size', [6, 12, 17, 40])
def test_never_worse_than_borda(size):
  scores = np.random.default_rng(size).normal(size=(size, 9))
  wins = kemeny.pairwise_wins(scores)
  consensus = kemeny.consensus(scores)
  assert sorted(consensus.order) == list(range(size))
  assert consensus.exact == (size <= kemeny.EXACT)
  assert consensus.cost == kemeny.cost(wins, consensus.order)
  assert consensus.cost <= kemeny.cost(wins, np.argsort(-borda.borda(scores)))


def test_the_local_search_finds_the_optimum_of_small_tables(monkeypatch):
  rng = np.random.default_rng(0)
  tables = [rng.normal(size=(8, 7)) for _ in range(20)]
  exact = [kemeny.consensus(scores).cost for scores in tables]
  monkeypatch.setattr(kemeny, 'EXACT', 2)
  near = [kemeny.consensus(scores) for scores in tables]
  assert not any(local.exact for local in near)
  gaps = [local.cost - cost for local, cost in zip(near, exact)]
  assert min(gaps) >= 0 and np.mean(np.array(gaps) == 0) >= 0.75
  with pytest.raises(ValueError, match='at most 2'):
    kemeny.optima(tables[0])
