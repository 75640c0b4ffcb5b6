"""Compressed residuals: exact values, what is stored, gradients from that."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.compress import saved_activations
from glue_jax.layers import activations
from glue_jax.layers import dense as dense_lib
from glue_jax.layers.mixers.attention import attend
from glue_jax.layers.norms.layer import standardise


def draw(*shape, seed=0):
  return jax.random.normal(jax.random.key(seed), shape)


def test_values_are_those_of_the_plain_operations():
  x, w = draw(2, 3, 40), draw(40, 7, seed=1)
  scale, bias = draw(40, seed=2), draw(40, seed=3)
  q, k, v = (draw(2, 6, 2, 4, seed=i) for i in range(3))
  pad = jnp.where(jnp.arange(6) < 4, 0.0, -1e30)[None, None, None]
  key = jax.random.key(9)
  plain_norm = lambda x, s, b: standardise(x, 1e-12)[0] * s + b
  pruned = lambda *a: saved_activations.layernorm_pruned(*a, 1e-12)
  dense = lambda x, w: dense_lib.dot_general(x, w, (((2,), (0,)), ((), ())))
  core = lambda fn: lambda *a: fn(*a, pad, key, 0.3)
  for plain, ours, args in (
    (activations.gelu, saved_activations.gelu4, (x,)),
    (dense, saved_activations.dense8, (x, w)),
    (plain_norm, pruned, (x, scale, bias)),
    (core(attend), core(saved_activations.attend8), (q, k, v)),
  ):
    expected = plain(*args)
    np.testing.assert_array_equal(ours(*args), expected)
    np.testing.assert_array_equal(jax.vjp(ours, *args)[0], expected)


@pytest.mark.parametrize('rate', [0.0, 0.3])
def test_gradients_of_attention_are_close(rate):
  q, k, v, g = (draw(2, 6, 2, 4, seed=i) for i in range(4))
  rng = jax.random.key(0) if rate else None
  run = lambda fn: jax.vjp(
    lambda *a: fn(*a, jnp.zeros((2, 1, 1, 6)), rng, rate), q, k, v
  )[1](g)
  for ours, exact in zip(run(saved_activations.attend8), run(attend)):
    assert np.abs(ours - exact).max() < 0.15
    assert not np.array_equal(ours, exact)


def kept(fn, *args):
  """Bytes by type of what the pull-back keeps beside its arguments."""
  given = {id(a) for a in args}
  found = {}
  for x in jax.tree.leaves(jax.vjp(fn, *args)[1]):
    if id(x) not in given:
      name = str(x.dtype)
      found[name] = found.get(name, 0) + x.nbytes
  return found


def test_what_is_kept():
  x, w = draw(8, 40), draw(40, 7, seed=1)
  ones, zeros = jnp.ones(40), jnp.zeros(40)
  assert kept(saved_activations.gelu4, x) == {'uint8': 160}
  # An input is kept for a kernel that learns, and only then.
  assert kept(saved_activations.dense8, x, w)['int8'] == 320
  assert 'int8' not in kept(lambda x: saved_activations.dense8(x, w), x)
  frozen = kept(
    lambda x, b: saved_activations.layernorm_pruned(x, ones, b, 1e-12), x, zeros
  )
  assert frozen['int32'] == 4 * 32
  assert frozen['float32'] <= 4 * (32 + 8 + 40)
  probs = kept(saved_activations.softmax_matmul8, draw(2, 6, 6), draw(2, 6, 4))
  assert (probs['uint8'], probs['int8']) == (72, 48)


def test_a_learning_norm_has_the_exact_gradient():
  x, g = draw(4, 40), draw(4, 40, seed=1)
  scale, bias = draw(40, seed=2), draw(40, seed=3)
  plain = lambda x, s, b: standardise(x, 1e-12)[0] * s + b
  exact = jax.vjp(plain, x, scale, bias)[1](g)
  ours = jax.vjp(
    lambda *a: saved_activations.layernorm_pruned(*a, 1e-12), x, scale, bias
  )[1](g)
  for a, b in zip(ours, exact):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('platform', ['cuda', 'tpu'])
def test_lowers_for_accelerators(platform):
  key = jax.random.key(0)

  def loss(x, w):
    y = saved_activations.gelu4(saved_activations.dense8(x, w))
    y = saved_activations.layernorm_pruned(y, w[0], w[1], 1e-12)
    heads = y.reshape(2, 8, 2, 20)
    bias = jnp.zeros((2, 1, 1, 8))
    return saved_activations.attend8(heads, heads, heads, bias, key, 0.1).sum()

  exported = jax.export.export(jax.jit(jax.grad(loss)), platforms=[platform])(
    draw(2, 8, 40), draw(40, 40)
  )
  text = exported.mlir_module()
  # Compressed behind a barrier; conditionals are for CPUs.
  assert 'optimization_barrier' in text
