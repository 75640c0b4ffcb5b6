"""The fused attention against the plain formula, gradients included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.layers.dropout import keep_mask
from glue_jax.layers.mixers.attention import attend

FLOOR = jnp.finfo(jnp.float32).min


def plain(query, key, value, bias, rng, rate):
  scores = jnp.einsum('blhk,bmhk->bhlm', query, key) * query.shape[-1] ** -0.5
  probs = jax.nn.softmax(scores + bias, -1)
  if rate:
    keep = keep_mask(rng, rate, probs.shape)
    probs = jnp.where(keep, probs / (1 - rate), 0)
  return jnp.einsum('bhlm,bmhk->blhk', probs, value)


def arguments(length=7, memory=5, dtype=jnp.float32):
  rng = np.random.default_rng(0)

  def draw(*shape):
    return jnp.asarray(rng.normal(size=shape), dtype)

  query, g = draw(3, length, 2, 4), draw(3, length, 2, 4)
  key, value = draw(3, memory, 2, 4), draw(3, memory, 2, 4)
  # The last row has nothing but padding.
  real = np.arange(memory)[None] < np.array([memory, 2, 0])[:, None]
  bias = jnp.where(real, 0.0, FLOOR)[:, None, None, :]
  return (query, key, value, bias), g


@pytest.mark.parametrize('rate', [0.0, 0.3])
@pytest.mark.parametrize('sizes', [(7, 5), (5, 5), (1, 9)])
def test_value_and_gradient(sizes, rate):
  inputs, g = arguments(*sizes)
  rng = jax.random.key(1) if rate else None
  results = []
  for fn in (attend, plain):

    def run(*x, fn=fn):
      return jax.vjp(lambda *y: fn(*y, rng, rate), *x)

    out, vjp = jax.jit(run)(*inputs)
    results.append((out, *vjp(g)[:3]))
  for mine, theirs in zip(*results):
    np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize('shape', [(3, 2, 7, 5), (2, 7, 5), (1, 1, 1, 5)])
def test_gradient_of_a_learned_bias(shape):
  (query, key, value, _), g = arguments()
  bias = jax.random.normal(jax.random.key(2), shape)

  def loss(bias, fn):
    return (fn(query, key, value, bias, None, 0.0) * g).sum()

  mine, theirs = (jax.grad(loss)(bias, fn) for fn in (attend, plain))
  assert mine.shape == shape
  np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=2e-6)


def test_large_scores_stay_finite():
  (query, key, value, bias), g = arguments()
  out, vjp = jax.vjp(
    lambda *x: attend(*x, bias, None, 0.0), query * 1e4, key, value
  )
  for x in (out, *vjp(g)):
    assert np.isfinite(x).all()


def test_bfloat16_keeps_its_type_and_is_near():
  inputs, g = arguments(dtype=jnp.bfloat16)
  exact, _ = arguments()
  out, vjp = jax.vjp(lambda *x: attend(*x, inputs[3], None, 0.0), *inputs[:3])
  gradients = vjp(g)
  assert {x.dtype for x in (out, *gradients)} == {jnp.dtype(jnp.bfloat16)}
  expected = plain(*exact, None, 0.0)
  np.testing.assert_allclose(
    out.astype(np.float32), expected, rtol=5e-2, atol=5e-2
  )


def test_keeps_one_array_of_scores_for_the_backward_pass():
  inputs, _ = arguments(9, 9)

  def run(*x):
    return jax.vjp(
      lambda *y: attend(*y, inputs[3], jax.random.key(0), 0.1), *x
    )[1]

  kept = jax.tree.leaves(jax.eval_shape(run, *inputs[:3]))
  assert [x.shape for x in kept].count((3, 2, 9, 9)) == 1
