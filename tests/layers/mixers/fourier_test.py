"""FNet's mixer: its properties, its gradient, and its two implementations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.layers.context import BatchContext
from glue_jax.layers.mixers import fourier
from glue_jax.layers.spec import EncoderConfig

SIZES = [(1, 1), (2, 2), (7, 12), (8, 16), (9, 5)]


def signal(length, width, seed=0):
  shape = (2, length, width)
  return np.random.default_rng(seed).normal(size=shape).astype('float32')


@pytest.mark.parametrize('implementation', ['fft', 'dft'])
@pytest.mark.parametrize('length,width', SIZES)
def test_equals_the_definition(implementation, length, width):
  x = signal(length, width)
  expected = np.fft.fft2(x.astype('float64')).real
  ours = fourier.transform(x, implementation)
  scale = np.sqrt(length * width)
  np.testing.assert_allclose(ours / scale, expected / scale, atol=1e-5)


def test_both_implementations_agree_at_length_512():
  x = signal(512, 64)
  scale = np.sqrt(512 * 64)
  np.testing.assert_allclose(
    fourier.transform(x, 'fft') / scale,
    fourier.transform(x, 'dft') / scale,
    atol=1e-5,
  )


@pytest.mark.parametrize('implementation', ['fft', 'dft'])
def test_a_delta_at_the_origin_becomes_all_ones(implementation):
  x = jnp.zeros((1, 6, 10)).at[0, 0, 0].set(1)
  np.testing.assert_allclose(fourier.transform(x, implementation), 1, atol=1e-6)


@pytest.mark.parametrize('implementation', ['fft', 'dft'])
def test_the_gradient_is_the_transform_of_the_cotangent(implementation):
  x, g = signal(7, 6), signal(7, 6, seed=1)
  _, pull = jax.vjp(lambda x: fourier.transform(x, implementation), x)
  # The derivative of the definition itself, without the custom rule.
  _, plain = jax.vjp(lambda x: jnp.fft.fft2(x).real, x)
  np.testing.assert_allclose(pull(g)[0], plain(g)[0], atol=2e-5)
  expected = np.fft.fft2(g.astype('float64')).real
  np.testing.assert_allclose(pull(g)[0], expected, atol=2e-5)


def test_the_gradient_keeps_no_residual():
  _, pull = jax.vjp(fourier.transform, signal(4, 4))
  assert not [leaf for leaf in jax.tree.leaves(pull) if np.size(leaf) > 1]


def test_bfloat16_input_is_transformed_in_float32():
  x = jnp.asarray(signal(16, 8), jnp.bfloat16)
  mixer = fourier.Mixer(EncoderConfig(dtype='bfloat16'))
  out = mixer.apply({}, x, BatchContext(None), False)
  assert out.dtype == jnp.float32
  expected = np.fft.fft2(np.asarray(x, np.float64)).real
  np.testing.assert_allclose(out, expected, atol=1e-4)


def test_an_unknown_implementation_lists_those_there_are():
  with pytest.raises(ValueError, match="expected one of .*'dft', 'fft'"):
    fourier.transform(jnp.zeros((1, 2, 2)), 'fast')
