"""The gradient of coupled streams, on small blocks of its own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.layers.stacks import coupling
from glue_jax.layers.stacks.coupling import Coupling
from glue_jax.layers.stacks.reversible import VARIANTS
from tests.conftest import jit

WIDTH = 8


def block(w, mask, x):
  """Attention without heads and a feed-forward part, post-LN."""

  def norm(x):
    return (x - x.mean(-1, keepdims=True)) / (
      jnp.sqrt(jnp.var(x, -1, keepdims=True) + 1e-6)
    )

  scores = jnp.where(mask, (x @ w['query']) @ x.swapaxes(-1, -2), -1e30)
  x = norm(x + jax.nn.softmax(scores) @ x @ w['value'])
  return norm(x + jnp.tanh(x @ w['inner']) @ w['outer'] + side(w, x))


def side(w, x):
  return jnp.tanh(x @ w['down']) @ w['up']


def inputs(layers, dtype):
  rng = np.random.default_rng(0)

  def draw(*shape):
    return jnp.asarray(rng.normal(size=shape) * 0.2, dtype)

  square, small = (WIDTH, WIDTH), ((WIDTH, 2), (2, WIDTH))
  frozen = [
    {n: draw(*square) for n in ('query', 'value', 'inner', 'outer')}
    for _ in range(layers)
  ]
  train = [
    {n: draw(*shape) for n, shape in zip(('down', 'up'), small)}
    for _ in range(layers)
  ]
  mask = jnp.asarray([[[True] * 5], [[True] * 3 + [False] * 2]])
  return train, frozen, mask, 5 * draw(2, 5, WIDTH)


def pairs(variant, train, frozen, mask):
  functions = []
  for learns, fixed in zip(train, frozen):
    w = learns | fixed
    whole, beside = (
      functools.partial(block, w, mask),
      functools.partial(side, w),
    )
    functions.append(
      {'meft1': (whole, beside), 'meft2': (beside, whole)}.get(
        variant, (whole, whole)
      )
    )
  return functions


def gradients(variant, layers, dtype, segment):
  """Of the adapters and the entry: (ordinary, reversible)."""
  rule = VARIANTS[variant].coupling

  def loss(run, train, x, frozen, mask):
    first, second = run(pairs(variant, train, frozen, mask), (x, x), rule)
    return jnp.sum(jnp.sin(first) + second**2)

  def back(*args):
    return coupling.reversible(*args, segment)

  def both(*args):
    def run(fn):
      return jax.value_and_grad(functools.partial(loss, fn), (0, 1))(*args)

    return run(coupling.ordinary), run(back)

  train, frozen, mask, x = inputs(layers, dtype)
  (theirs, expected), (ours, actual) = both(train, x, frozen, mask)
  np.testing.assert_allclose(ours, theirs, rtol=1e-6)
  return expected, actual


def worst(expected, actual):
  """Largest relative error in norm of any layer's gradients."""

  def norm(t):
    return np.sqrt(
      sum(np.square(np.float64(x)).sum() for x in jax.tree.leaves(t))
    )

  layers = zip(
    [*expected[0], expected[1]], [*actual[0], actual[1]], strict=True
  )
  return max(
    norm(jax.tree.map(lambda x, y: x - y, a, b)) / norm(a) for a, b in layers
  )


@pytest.mark.parametrize('variant', VARIANTS)
def test_float64_gradients_are_the_ordinary_ones(variant):
  with jax.enable_x64(True):
    assert worst(*gradients(variant, 3, jnp.float64, 3)) < 1e-9


@pytest.mark.parametrize('variant', VARIANTS)
def test_segments_keep_float32_gradients_of_twelve_layers(variant):
  segment = VARIANTS[variant].segment
  assert worst(*gradients(variant, 12, jnp.float32, segment)) < 2e-3


def test_only_what_learns_gets_a_gradient():
  train, frozen, mask, x = inputs(2, jnp.float32)
  rule = VARIANTS['meft1'].coupling

  def loss(train, frozen):
    streams = coupling.reversible(
      pairs('meft1', train, frozen, mask), (x, x), rule, 2
    )
    return sum(streams).sum()

  def products(which):
    return str(jax.make_jaxpr(jax.grad(loss, which))(train, frozen)).count(
      'dot_general'
    )

  # A product for each frozen matrix of each layer that gets none.
  assert products((0, 1)) - products(0) >= 2 * len(frozen[0])


def test_reconstruction_errors():
  train, frozen, mask, x = inputs(6, jnp.float32)
  rule = VARIANTS['meft1'].coupling

  def measure(*args, segment):
    return coupling.errors(pairs('meft1', *args), (x, x), rule, segment)

  whole, parts = (
    jit(functools.partial(measure, segment=s))(train, frozen, mask)
    for s in (6, 2)
  )
  assert whole.shape == (1,) and parts.shape == (3,)
  assert 0 < float(parts.max()) < 1e-4 < float(whole[0])


def test_nothing_to_run_is_the_identity():
  x = jnp.arange(3.0)
  rule = VARIANTS['meft3'].coupling
  for ours in coupling.reversible([], (x, x), rule, 4):
    np.testing.assert_array_equal(ours, x)
  assert coupling.errors([], (x, x), rule, 4).shape == (0,)


@pytest.mark.parametrize('factors', [(0.0, 1.0), (1.0, np.inf), (np.nan, 1.0)])
def test_factors_that_cannot_be_undone(factors):
  with pytest.raises(ValueError, match='must be finite and not 0'):
    Coupling(*factors, swap=False)


def test_layers_that_change_the_shape():
  pair = (lambda x: x[:1], lambda x: x)
  with pytest.raises(ValueError, match=r'keep the shape .*\(3,\).*gave \(1,\)'):
    coupling.reversible([pair], (jnp.ones(3),) * 2, Coupling(1, 1, True), 1)
