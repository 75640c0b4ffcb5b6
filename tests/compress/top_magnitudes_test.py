"""The largest entries agree with sorting, also where many are equal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.compress import top_magnitudes


@pytest.mark.parametrize('groups,levels', [(4, None), (1, 3), (2, 1)])
def test_largest_agrees_with_sorting(groups, levels):
  y = jax.random.normal(jax.random.key(0), (4, 5, 70))
  if levels:  # few different magnitudes: ties
    y = jnp.sign(y) * jnp.ceil(jnp.abs(y) * levels).clip(0, levels)
  values, places = top_magnitudes.largest(y, 0.1, groups)
  flat = np.asarray(y).reshape(groups, -1)
  for row, value, place in zip(flat, values, places):
    order = np.argsort(-np.abs(row), kind='stable')[: len(place)]
    assert np.array_equal(np.sort(order), place)
    assert np.array_equal(row[place], value)
  back = np.asarray(top_magnitudes.spread(values, places, y.shape))
  kept = back != 0
  assert np.array_equal(back[kept], np.asarray(y)[kept])


def test_largest_refuses_what_does_not_divide():
  with pytest.raises(ValueError, match='3 equal groups'):
    top_magnitudes.largest(jnp.ones((5, 4)), 0.1, 3)
  with pytest.raises(ValueError, match='cannot keep'):
    top_magnitudes.largest(jnp.ones((3,)), 0.1)
