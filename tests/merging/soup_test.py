"""Greedy and weighted soups."""

import numpy as np
import pytest

from glue_jax.merging import average, soup
from tests.merging import models


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


def test_shares_follow_the_scores():
  shares = soup.weighted([0.8, 0.7, 0.8], 0.1)
  assert sum(shares) == pytest.approx(1) and shares[0] == shares[2]
  assert shares[0] / shares[1] == pytest.approx(np.e)
  assert soup.weighted([900.0, 1.0], 0.05) == [1, 0]
  _, (model, *_) = models.models()
  models.equal(average.average([model] * 3, shares), model)
  with pytest.raises(ValueError, match='temperature=0'):
    soup.make(['a', 'b'], 'weighted', None, None, temperature=0)
