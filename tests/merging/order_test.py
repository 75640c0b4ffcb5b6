"""The k-th smallest magnitude equals that of a sort."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glue_jax.merging.order import count_of, kth_magnitude

FLOATS = st.floats(-(2.0**60), 2.0**60, width=32)


@settings(max_examples=40, deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=30), st.data())
def test_it_is_that_of_a_sort(values, data):
  k = data.draw(st.integers(1, len(values)))
  x = np.array(values, np.float32)
  found = kth_magnitude(lambda: np.array_split(x, 3), k)
  assert found == np.sort(np.abs(x))[k - 1]


def test_close_values_and_large_arrays():
  rng = np.random.default_rng(0)
  x = (1 + rng.integers(0, 2**17, 50_000) * 2.0**-23).astype(np.float32)
  for k in (1, 777, 25_000, 50_000):
    found = kth_magnitude(lambda: [x], k)
    assert found == np.partition(x, k - 1)[k - 1]


def test_there_must_be_a_kth():
  for k in (0, 3):
    with pytest.raises(ValueError, match=f'k={k}: there are 2'):
      kth_magnitude(lambda: [np.ones(2, np.float32)], k)


def test_counts_are_taken_in_double_precision():
  assert count_of(30, 0.9) == 27
  assert count_of(30, np.float32(0.9)) == 26  # why it matters
