"""Greedy soups."""

import pytest

from glue_jax.merging import soup


def test_greedy_takes_what_does_not_hurt():
  scores = {(1,): 0.7, (1, 2): 0.7, (1, 2, 0): 0.6, (1, 2, 3): 0.8}
  asked = []

  def evaluate(members):
    asked.append(members)
    return scores[members]

  chosen, score, rows = soup.greedy([0.6, 0.7, 0.65, 0.5], evaluate)
  assert asked == [(1, 2), (1, 2, 0), (1, 2, 3)]
  assert chosen == (1, 2, 3)
  assert score == 0.8
  assert [row['taken'] for row in rows] == [True, True, False, True]


def test_of_equal_ones_the_later_comes_first():
  assert soup.greedy([0.5, 0.5], lambda _: 0.0)[0] == (1,)
  with pytest.raises(ValueError, match='at least one'):
    soup.greedy([], lambda _: 0.0)
