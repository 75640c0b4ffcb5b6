import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.layers.norms.layer import LayerNorm


def reference(x, scale, bias, eps):
  x = np.asarray(x, np.float64)
  centred = x - x.mean(-1, keepdims=True)
  variance = np.square(centred).mean(-1, keepdims=True)
  return centred / np.sqrt(variance + eps) * scale + bias


def setup(shape=(2, 3, 48), offset=0.0):
  rng = np.random.default_rng(0)
  x = (rng.normal(size=shape) + offset).astype(np.float32)
  scale, bias = rng.normal(size=(2, shape[-1])).astype(np.float32)
  return x, {'params': {'scale': scale, 'bias': bias}}


@pytest.mark.parametrize('shape', [(48,), (3, 48), (2, 3, 48), (2, 3, 7)])
def test_equals_the_definition(shape):
  x, variables = setup(shape)
  y = LayerNorm(1e-12).apply(variables, x)
  expected = reference(x, **variables['params'], eps=1e-12)
  np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def test_a_large_offset_does_not_cancel():
  x, variables = setup(offset=300.0)
  y = LayerNorm(1e-12).apply(variables, x)
  expected = reference(x, **variables['params'], eps=1e-12)
  np.testing.assert_allclose(y, expected, atol=1e-3)


def test_gradient():
  x, variables = setup()
  g = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
  module = LayerNorm(1e-5)

  def plain(variables, x):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    y = (x - mean) / jnp.sqrt(variance + 1e-5)
    return y * variables['params']['scale'] + variables['params']['bias']

  mine, theirs = (
    jax.jit(jax.grad(lambda v, x, f=f: (f(v, x) * g).sum(), (0, 1)))(
      variables, x
    )
    for f in (module.apply, plain)
  )
  for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(theirs)):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_statistics_are_float32_for_bfloat16():
  x, variables = setup()
  y = LayerNorm(1e-12, 'bfloat16').apply(variables, x.astype(jnp.bfloat16))
  assert y.dtype == jnp.bfloat16
  expected = reference(x.astype(jnp.bfloat16), **variables['params'], eps=1e-12)
  np.testing.assert_allclose(y.astype(np.float32), expected, atol=0.05)


@pytest.mark.parametrize('platform', ['cpu', 'tpu', 'cuda'])
def test_only_a_cpu_multiplies_for_the_mean(platform):
  x, variables = setup()
  apply = jax.jit(LayerNorm(1e-12).apply)
  module = jax.export.export(apply, platforms=[platform])(variables, x)
  assert ('dot_general' in module.mlir_module()) == (platform == 'cpu')
