import numpy as np
import pytest

from glue_jax.optim import blockwise_8bit


@pytest.mark.parametrize('signed, low', [(True, -1.0), (False, 0.0)])
def test_the_code_book(signed, low):
  book = blockwise_8bit.code_book(signed)
  assert len(book) == 256 and (np.diff(book) > 0).all()
  assert book.max() == 1.0 and 0.0 in book
  smallest = np.abs(book[book != 0]).min()
  # Nearly seven decades below the block's largest.
  assert smallest == pytest.approx(5.5e-7 if signed else 3.25e-7)
  assert book.min() == pytest.approx(low if not signed else -0.993, abs=1e-3)


@pytest.mark.parametrize('signed, bound', [(True, 0.0125), (False, 0.0075)])
def test_the_error_of_moments(signed, bound):
  """Root mean square error over that of the moments, normal ones."""
  x = np.random.default_rng(0).normal(size=(300, 77)).astype(np.float32)
  x = x if signed else np.square(x)
  codes = blockwise_8bit.quantize(x, signed)
  ours = blockwise_8bit.dequantize(codes, x.shape, signed)
  assert codes.codes.dtype == np.uint8
  assert codes.codes.shape == (91, 256) and codes.scales.shape == (91,)
  error = np.sqrt(np.mean((ours - x) ** 2) / np.mean(x**2))
  assert 0.3 * bound < error < bound
  # Every number goes to the nearest of its block's values.
  book = blockwise_8bit.code_book(signed)
  block = np.abs(x.reshape(-1)[:256])
  gaps = np.abs(block[:, None] / block.max() - np.abs(book)[None]).min(1)
  ours = np.abs(np.asarray(ours).reshape(-1)[:256])
  np.testing.assert_allclose(
    np.abs(ours - block) / block.max(), gaps, atol=1e-6 if not signed else 8e-3
  )


def test_zeros_and_the_largest_of_a_block_are_exact():
  x = np.zeros(700, np.float32)
  x[300], x[10] = 3.5, -1e-12
  for signed in (True, False):
    value = x if signed else np.abs(x)
    ours = blockwise_8bit.dequantize(
      blockwise_8bit.quantize(value, signed), value.shape, signed
    )
    assert ours[300] == 3.5 and (ours[512:] == 0).all()
    assert ours[10] == pytest.approx(value[10], rel=8e-3)
