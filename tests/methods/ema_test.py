"""The moving average of the weights is what predicts, is saved, is exported."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from glue_jax import tree
from glue_jax.devices import sharding
from glue_jax.optim import weight_average
from glue_jax.training import session
from glue_jax.training.begin import begin
from tests.conftest import tiny_config


def average(history, decay, warmup):
  """The formula, on a list of parameters from the start on."""
  mean = history[0]
  for t, new in enumerate(history[1:], start=1):
    d = min(decay, (1 + t) / (10 + t)) if warmup else decay
    mean = d * mean + (1 - d) * new
  return mean


@pytest.mark.parametrize('warmup', [True, False])
@pytest.mark.parametrize('behind', [True, False])
def test_the_average_is_that_of_the_formula_wherever_it_stands(behind, warmup):
  # What stands behind it may change the update once more.
  parts = [weight_average.track(0.3, warmup), optax.scale(-0.5)]
  tx = optax.chain(*(parts[::-1] if behind else parts))
  params = {'a': {'b': jnp.array([1.0, -2.0])}}
  state, history = tx.init(params), [np.asarray(params['a']['b'])]

  def read():
    slots = tree.paths(state)
    return weight_average.averaged(params, slots, 0.3, warmup)['a']['b']

  np.testing.assert_array_equal(read(), history[0])
  for step in range(4):
    grads = {'a': {'b': jnp.array([step + 1.0, 1.0])}}
    updates, state = tx.update(grads, state, params)
    params = optax.apply_updates(params, updates)
    history.append(np.asarray(params['a']['b']))
    np.testing.assert_allclose(read(), average(history, 0.3, warmup), rtol=1e-6)


def test_half_precision_is_averaged_in_full():
  params = {'a': jnp.ones(2, jnp.bfloat16)}
  tx = weight_average.track(0.999, False)
  state = tx.init(params)
  assert state.ema['a'].dtype == jnp.float32
  _, state = tx.update(params, state, params)
  found = weight_average.averaged(params, tree.paths(state), 0.999, False)
  assert found['a'].dtype == jnp.bfloat16


def trained(steps=3, decay=0.5, methods=(), **changes):
  """A run after some steps, and the leaves that learn after each."""
  methods = (*methods, ('ema', dict(decay=decay, warmup=False)))
  config = tiny_config(
    model=dict(num_layers=1), train=dict(epochs=2), methods=methods, **changes
  )
  run, history = begin(config, 0), []
  with sharding.enter(run.parts.mesh):
    history.append(jax.device_get(tree.flatten(run.host.state.params)))
    for step in range(steps):
      run.prepare()
      run.step(run.parts.bundle.train.batch(step))
      history.append(jax.device_get(tree.flatten(run.host.state.params)))
  return run, history


@pytest.fixture(scope='module')
def lora():
  return trained(methods=(('lora', dict(rank=2)),))


def test_beside_lora_the_factors_are_averaged_and_exported(lora):
  run, history = lora
  parts, state = run.parts, run.host.state
  with sharding.enter(parts.mesh):
    settled = session.settled(parts, state)
    exported = session.exported(parts, state)
    twice = session.settled(parts, settled)
    raw = session.exported(parts, state.replace(opt_state=()))
  assert set(history[0]) == set(tree.flatten(settled.params))
  for name, value in tree.flatten(settled.params).items():
    wanted = average([leaves[name] for leaves in history], 0.5, False)
    np.testing.assert_allclose(value, wanted, atol=1e-6, err_msg=name)
    np.testing.assert_array_equal(tree.flatten(twice.params)[name], value)
  held = tree.paths(state.opt_state)
  averages = {n.partition('/ema/')[2] for n in held if '/ema/' in n}
  assert averages == set(history[0])  # not of the backbone
  wanted = tree.flatten(parts.method.export(settled.all_params()))
  for name, value in tree.flatten(exported).items():
    np.testing.assert_allclose(value, wanted[name], atol=1e-7, err_msg=name)
  head = 'head/out/kernel'
  assert abs(tree.flatten(raw)[head] - tree.flatten(exported)[head]).max() > 0


def test_evaluations_are_of_the_average(lora):
  run, _ = lora
  parts, state = run.parts, run.host.state
  rows = parts.bundle.train.batch(0)
  with sharding.enter(parts.mesh):
    mean = session.predict_fn(parts, state, {})(rows)['logits']
    params = session.settled(parts, state).all_params()
    wanted = parts.apply(params, rows)['logits']
    last = parts.apply(state.all_params(), rows)['logits']
  np.testing.assert_allclose(mean, wanted, atol=1e-6)
  assert abs(np.asarray(mean) - last).max() > 1e-5


def test_a_decay_of_zero_is_the_plain_run():
  run, history = trained(steps=2, decay=0.0)
  with sharding.enter(run.parts.mesh):
    settled = session.settled(run.parts, run.host.state)
  for name, value in tree.flatten(settled.params).items():
    np.testing.assert_array_equal(value, history[-1][name], err_msg=name)


def test_a_leaf_that_waits_keeps_its_average():
  methods = (('slimfit', dict(freezing_rate=0.5, refresh=1, compress=())),)
  run, history = trained(steps=4, methods=methods, optimizer=dict(warmup=0.0))
  whole = jax.device_get(tree.flatten(run.host.state.all_params()))
  with sharding.enter(run.parts.mesh):
    settled = tree.flatten(
      session.settled(run.parts, run.host.state).all_params()
    )
  learning = set(tree.flatten(run.host.state.params))
  moved = set().union(*history) - learning
  assert moved
  # Not the last values, of those that wait neither.
  assert any(np.abs(settled[n] - whole[n]).max() > 0 for n in moved)
