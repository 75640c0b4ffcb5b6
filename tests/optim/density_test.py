"""The density penalty as a transform: equal to the term of the loss."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from glue_jax.objectives import density
from glue_jax.optim import density as transform


def captured(params):
  x = jax.random.normal(jax.random.key(7), (6, 5))
  first = jax.nn.relu(x @ params['a'] * 1e-3)
  second = jax.nn.relu(first @ params['b'])
  return {
    'first': density.surrogate(first), 'second': density.surrogate(second),
  }  # fmt: skip


def task(params):
  return jnp.sum(jnp.square(params['a'])) + jnp.sum(params['b'])


@pytest.fixture(scope='module')
def params():
  first, second = jax.random.split(jax.random.key(0))
  return {
    'a': jax.random.normal(first, (5, 7)),
    'b': jax.random.normal(second, (7, 3)),
  }


def test_equals_the_loss_form_in_a_chain_under_jit(params):
  weight = 0.7
  whole = lambda p: task(p) + weight * transform.layer_mean(captured(p))
  adam = lambda: optax.chain(optax.scale_by_adam(), optax.scale(-1e-2))
  added = optax.chain(transform.add_density_gradient(weight), adam())

  @jax.jit
  def ours(params, state):
    statistics, pullback = jax.vjp(captured, params)
    updates, state = added.update(
      jax.grad(task)(params), state, params,
      statistics=statistics, pullback=lambda c: pullback(c)[0],
    )  # fmt: skip
    return optax.apply_updates(params, updates), state

  @jax.jit
  def theirs(params, state):
    updates, state = adam().update(jax.grad(whole)(params), state, params)
    return optax.apply_updates(params, updates), state

  a, b = params, params
  state, other = added.init(params), adam().init(params)
  for _ in range(3):
    penalty = transform.layer_mean(captured(a))
    a, state = ours(a, state)
    b, other = theirs(b, other)
    np.testing.assert_allclose(state[0].penalty, penalty, rtol=1e-6)
  for name in params:
    np.testing.assert_allclose(a[name], b[name], rtol=1e-5)
    assert not np.array_equal(a[name], params[name])


def test_what_is_missing_is_named(params):
  tx = transform.add_density_gradient()
  with pytest.raises(ValueError, match='statistics=... and pullback=...'):
    tx.update(params, tx.init(params), params)
  with pytest.raises(ValueError, match='weight=-1'):
    transform.add_density_gradient(-1)
