import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.layers import activations

X = np.concatenate(
  [np.linspace(-12, 12, 4801), [-1e30, -100, 0.0, 1e-30, 100, 1e30]]
).astype(np.float32)


def exact(x):
  from scipy import special

  return x.astype(np.float64) * special.ndtr(x.astype(np.float64))


def slope(x):
  from scipy import special, stats

  x = x.astype(np.float64)
  return special.ndtr(x) + x * stats.norm.pdf(x)


def test_gelu_is_exact():
  np.testing.assert_allclose(
    activations.gelu(X), exact(X), rtol=1e-6, atol=1e-6
  )


def test_gradient_is_exact():
  gradient = jax.jit(jax.vmap(jax.grad(activations.gelu)))(X)
  np.testing.assert_allclose(gradient, slope(X), rtol=1e-6, atol=1e-6)


def test_gradient_is_multiplied_by_the_cotangent():
  g = np.linspace(-2, 3, len(X)).astype(np.float32)
  (gradient,) = jax.vjp(activations.gelu, X)[1](g)
  np.testing.assert_allclose(gradient, g * slope(X), rtol=2e-6, atol=2e-6)


def test_second_derivative():
  x = X[:4801:16]
  second = jax.vmap(jax.grad(jax.grad(activations.gelu)))(x)

  def plain(x):
    return jax.nn.gelu(x, approximate=False)

  expected = jax.vmap(jax.grad(jax.grad(plain)))(x)
  np.testing.assert_allclose(second, expected, atol=1e-6)


def test_agrees_with_jax_in_bfloat16():
  x = jnp.asarray(X, jnp.bfloat16)
  mine, theirs = activations.gelu(x), jax.nn.gelu(x, approximate=False)
  assert mine.dtype == jnp.bfloat16
  close = dict(rtol=2e-2, atol=2e-2)
  np.testing.assert_allclose(
    mine.astype(np.float32), theirs.astype(np.float32), **close
  )
  gradient = jax.vmap(jax.grad(activations.gelu))(x)
  assert gradient.dtype == jnp.bfloat16
  np.testing.assert_allclose(gradient.astype(np.float32), slope(X), **close)


def test_backward_keeps_only_the_input():
  (kept,) = jax.tree.leaves(jax.vjp(activations.gelu, jnp.ones((4, 4)))[1])
  assert kept.shape == (4, 4)


@pytest.mark.parametrize('x', [np.nan, np.inf, -np.inf])
def test_bad_numbers_stay_visible(x):
  y = float(activations.gelu(jnp.float32(x)))
  assert np.isnan(y) or x == y == np.inf


def test_tanh_form_is_near():
  near = np.abs(X) < 100
  np.testing.assert_allclose(
    activations.gelu_tanh(X[near]), exact(X[near]), atol=5e-4
  )
