"""LaMDA++'s ranks: the budget, the order, ties, and bad input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glue_jax.peft import rank_allocation


def spectra(decays, size=16):
  """Spectra that fall by a factor: the smaller, the more concentrated."""
  return {
    f'layer_{i}/query': decay ** np.arange(size)
    for i, decay in enumerate(decays)
  }


def test_spread_out_spectra_get_more():
  found = rank_allocation.allocate(spectra([0.99, 0.7, 0.3]), 4)
  # 8 + 4 + 2 is above 3 x 4: the middle one goes down.
  assert list(found.values()) == [8, 2, 2]


def test_what_is_left_goes_to_the_lowest_energy():
  # Without a candidate above R the lowest third starts at R itself.
  found = rank_allocation.allocate(
    spectra([0.5, 0.9, 0.7, 0.3]), 4, candidates=(1, 4, 5)
  )
  # Order of need: 0.9, 0.7, 0.5, 0.3. Start 5 5 4 1 = 15, budget 16; the rest
  # of 1 lifts the third from 4 to 5.
  assert found == {
    'layer_0/query': 5,
    'layer_1/query': 5,
    'layer_2/query': 5,
    'layer_3/query': 1,
  }


def test_equal_scores_lower_layer_then_name_first():
  same = np.ones(16)
  names = ['layer_10/query', 'layer_2/value', 'layer_2/key', 'layer_3/query']
  found = rank_allocation.allocate(dict.fromkeys(names, same), 4, (2, 4, 6))
  # Order: 2/key, 2/value, 3/query, 10/query; start 6 6 4 2 = 18, budget 16.
  assert found == {
    'layer_2/key': 6,
    'layer_2/value': 6,
    'layer_3/query': 2,
    'layer_10/query': 2,
  }


@settings(max_examples=60, deadline=None)
@given(
  st.lists(st.floats(0.1, 0.999), min_size=1, max_size=12), st.integers(2, 8)
)
def test_budget_and_order_hold(decays, mean):
  made = spectra(decays)
  found = rank_allocation.allocate(made, mean)
  assert sum(found.values()) <= mean * len(made)
  assert set(found.values()) <= {mean // 2, mean, 2 * mean}
  assert found == rank_allocation.allocate(dict(reversed(made.items())), mean)
  energy = {n: rank_allocation.energy(s, mean) for n, s in made.items()}
  ranks = [found[n] for n in sorted(found, key=lambda n: energy[n])]
  highest = {energy[n] for n in found}
  if len(highest) == len(found):
    # Never more for a matrix that needs less, but for the last step up.
    drops = sum(b > a for a, b in zip(ranks, ranks[1:]))
    assert drops <= 1


def test_another_score():
  made = spectra([0.9, 0.5, 0.3])
  found = rank_allocation.allocate(made, 4, score=lambda s, rank: s[1])
  assert found['layer_2/query'] > found['layer_0/query']


@pytest.mark.parametrize(
  'made, mean, candidates, message',
  [
    ({}, 4, (), 'needs matrices'),
    (spectra([0.5]), 4, (2, 8), 'mean rank 4 among them'),
    (spectra([0.5]), 1, (), r'found 1 and \[0, 1, 2\]'),
    (spectra([0.5]), 12, (), 'candidate rank 24 exceeds the size'),
    ({'a': np.zeros(8)}, 2, (), 'not all zero'),
    ({'a': np.full(8, np.nan)}, 2, (), 'must be finite'),
  ],
)
def test_bad_input(made, mean, candidates, message):
  with pytest.raises(ValueError, match=message):
    rank_allocation.allocate(made, mean, candidates)
