"""Fixed-point integers: rounding, clipping, packing."""

import jax.numpy as jnp
import pytest

from glue_jax.compress import int8, saved_activations


def test_quantised_values():
  x = jnp.array([-9.0, -8.01, -0.09375, -0.03125, 0.03125, 0.09375, 7.99, 9.0])
  q = int8.quantise(x, saved_activations.OPERAND, 'int8')
  # Halves go to the even neighbour: -1.5 -> -2, -0.5 -> 0, 1.5 -> 2.
  assert q.tolist() == [-128, -128, -2, 0, 0, 2, 127, 127]
  one = int8.quantise(jnp.array([1.0]), saved_activations.PROBABILITY, 'uint8')
  assert int8.dequantise(one, saved_activations.PROBABILITY)[0] == 255 / 256


@pytest.mark.parametrize('values', [[-8], [7, -8, 0, 1], [1, 2, 3, -4, 5]])
def test_packing_is_undone(values):
  q = jnp.array(values, jnp.int8)
  packed = int8.pack4(q)
  assert packed.dtype == jnp.uint8 and packed.size == (len(values) + 1) // 2
  assert int8.unpack4(packed, q.shape).tolist() == values


def test_a_byte_holds_both_halves():
  packed = int8.pack4(jnp.array([-8, 7, 0, 1], jnp.int8))
  assert packed.tolist() == [0 * 16 + 8, 15 * 16 + 9]
