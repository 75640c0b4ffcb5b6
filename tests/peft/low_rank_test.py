"""The low-rank path: its own gradient is that of the formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.layers.dropout import dropout
from glue_jax.peft.low_rank import low_rank

RATE = 0.25


def draw(seed, *shape):
  return jax.random.normal(jax.random.key(seed), shape)


X, A, B, G = (
  draw(0, 2, 40, 12),
  draw(1, 12, 3),
  draw(2, 3, 9),
  draw(3, 2, 40, 9),
)


def plain(x, a, b, key, rate):
  x = x if key is None else dropout(x, key, rate)
  return (x @ a) @ b


@jax.jit
def results(g, *operands):
  """{(ours, with dropout): output and gradients}."""
  found = {}
  for key in (None, jax.random.key(4)):
    for fn in (low_rank, plain):
      y, pull = jax.vjp(lambda *a: fn(*a, key, RATE), *operands)  # noqa: B023
      found[fn is low_rank, key is not None] = (y, *pull(g))
  return found


@pytest.fixture(scope='module')
def found():
  return results(G, X, A, B)


@pytest.mark.parametrize('dropped', [False, True])
def test_output_and_gradients_are_those_of_the_formula(found, dropped):
  # The mask is a function of its key: that of the forward pass is the one of
  # every gradient.
  for ours, theirs in zip(found[True, dropped], found[False, dropped]):
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_dropout_drops_with_its_rate(found):
  _, d_x, *_ = found[True, True]
  share = float((d_x == 0).mean())
  assert abs(share - RATE) < 4 * (RATE * (1 - RATE) / d_x.size) ** 0.5
  assert (found[True, False][1] != 0).all()


def test_no_dropped_out_input_is_kept():
  key = jax.random.key(4)
  pull = jax.vjp(lambda *a: low_rank(*a, key, RATE), X, A, B)[1]
  kept = [x for x in jax.tree.leaves(pull) if x.size == X.size]
  assert len(kept) == 1 and (kept[0] == X).all()


def test_of_half_precision():
  half = [x.astype(jnp.bfloat16) for x in (X, A, B)]
  y, pull = jax.vjp(lambda *a: low_rank(*a, None, 0.0), *half)
  assert {x.dtype for x in (y, *pull(y))} == {jnp.dtype('bfloat16')}
