"""The density penalty as a transform: equal to the term of the loss."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from glue_jax import tree
from glue_jax.config import config as config_lib
from glue_jax.objectives import density
from glue_jax.optim import build
from glue_jax.optim import density as transform
from glue_jax.training import runs
from glue_jax.weights import saved_model
from tests.conftest import run_on_devices, tiny_config

# Of parameters after a run of 4 steps that moved some by more than 1e-2.
TOLERANCE = 1e-5


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


def run(folder, weight, penalty, **changes):
  """Leaves of the model after 4 steps, the last of them half padding."""
  config = tiny_config(
    **config_lib.override(
      dict(
        methods=(('deft', dict(weight=weight, eps=1e-3)),),
        data=dict(train_limit=56),
        model=dict(activation='relu', dropout=0.0, attention_dropout=0.0),
        optimizer=dict(
          name='sgd', args=dict(decay=0.9), density=penalty, clip_norm=None
        ),
        train=dict(epochs=1),
      ),
      changes,
    )
  )
  runs.run(config, folder)
  return tree.flatten(saved_model.load(folder / 'model')[1])


def distance(a, b):
  """The largest difference of two models' parameters."""
  return max(float(np.abs(a[name] - b[name]).max()) for name in a)


@pytest.fixture(scope='module')
def in_the_loss(tmp_path_factory):
  """A run with the penalty as a term of the loss, and how far it moved."""
  folder = tmp_path_factory.mktemp('loss')
  ours = run(folder / 'with', 5.0, 0.0)
  moved = distance(ours, run(folder / 'without', 0.0, 0.0))
  assert moved > 1e-2
  return ours


@pytest.mark.parametrize('accumulate', [1, 4])
def test_a_run_with_it_ends_where_the_loss_form_does(
  tmp_path, in_the_loss, accumulate
):
  train = dict(accumulate=accumulate)
  found = run(tmp_path, 0.0, 5.0, train=train)
  assert distance(found, in_the_loss) < TOLERANCE


def test_so_does_a_run_on_several_devices(tmp_path, in_the_loss):
  script = f"""
import pathlib
from tests.optim import density_test as t
t.run(pathlib.Path({str(tmp_path)!r}), 0.0, 5.0, mesh=dict(data=2, fsdp=2))
"""
  run_on_devices(script, devices=4)
  found = tree.flatten(saved_model.load(tmp_path / 'model')[1])
  assert distance(found, in_the_loss) < TOLERANCE


def test_the_penalty_is_not_clipped(params):
  tx, _ = build.make(
    total_steps=1, names=params, name='sgd', args=dict(decay=0.0), lr=1.0,
    schedule='constant', warmup=0.0, weight_decay=0.0, clip_norm=1e-12,
    density=2.0,
  )  # fmt: skip
  statistics, pullback = jax.vjp(captured, params)
  updates, _ = tx.update(
    jax.grad(task)(params), tx.init(params), params,
    statistics=statistics, pullback=lambda c: pullback(c)[0],
  )  # fmt: skip
  penalty = jax.grad(lambda p: transform.layer_mean(captured(p)))(params)
  for name, update in updates.items():
    np.testing.assert_allclose(update, -2 * penalty[name], atol=1e-9)
    assert np.abs(update).max() > 1e-6


def test_a_run_that_measures_no_density_is_refused(tmp_path):
  with pytest.raises(ValueError, match="density_loss.*'deft', dict.weight=0.0"):
    run(tmp_path, 0.0, 5.0, methods=())
