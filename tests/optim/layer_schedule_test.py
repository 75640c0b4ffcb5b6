"""The schedule of layers: which there are, priorities, distances."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from glue_jax import tree
from glue_jax.models import model as models
from glue_jax.optim import layer_schedule


def base(kind):
  return models.shapes(models.build('bert', 'base', kind=kind, num_outputs=2))


def test_layers_of_bert_base():
  shapes = base('classification')
  names = layer_schedule.layers(shapes)
  assert len(names) == 102
  assert not any(name.endswith('bias') for name in names)
  assert 'head/out/kernel' in names and 'encoder/embeddings/ln/scale' in names
  # STS-B's only output always learns.
  regression = layer_schedule.layers(base('regression'))
  assert set(names) - set(regression) == {'head/out/kernel'}
  with pytest.raises(ValueError, match='no layer'):
    layer_schedule.layers({'bias': jnp.zeros(3)})


@pytest.mark.parametrize('rate', [-0.1, 1.0, 1.5, float('nan')])
def test_refuses_a_rate_out_of_range(rate):
  with pytest.raises(
    ValueError, match=r'rate=.*; expected a number in \[0, 1\)'
  ):
    layer_schedule.frozen_layers(np.ones(4), rate)


def test_ties_freeze_the_first():
  priority = np.array([2, 1, 1, 1], np.float32)
  frozen = layer_schedule.frozen_layers(priority, 0.5)
  assert frozen.tolist() == [False, True, True, False]


@pytest.mark.parametrize('rate', [0.0, 0.5, 0.8, 0.95])
def test_each_layer_learns_once_before_any_is_compared(rate):
  random = np.random.default_rng(0)
  priority = random.random(102) * layer_schedule.START
  seen = np.zeros(102, bool)
  for _ in range(layer_schedule.rounds(102, rate)):
    assert not seen.all()
    frozen = layer_schedule.frozen_layers(priority, rate)
    seen |= ~frozen
    priority[~frozen] = random.random((~frozen).sum())
  assert seen.all()


def test_distance():
  old = jnp.array([1.0, -2.0, 0.0, 0.0])
  new = jnp.array([1.1, -1.8, 0.0, 1e-12])
  # 0.1, 0.1, exactly nothing, and a change from zero taken by 1e-12.
  found = layer_schedule.distance(old, new)
  np.testing.assert_allclose(found, (0.1 + 0.1 + 0 + 1) / 4, rtol=1e-5)


def test_nearest_shares_the_most():
  known = [['a', 'b'], ['b', 'c'], ['c', 'd']]
  assert layer_schedule.nearest(['c', 'd'], known) == 2
  assert layer_schedule.nearest(['b', 'x'], known) == 0


def test_track_sees_layers_and_passes_updates_on():
  params = {'w': jnp.full((2, 2), 2.0), 'bias': jnp.ones(2)}
  tx = optax.chain(optax.sgd(0.1), layer_schedule.track(['w']))
  state = tx.init(params)
  start = np.array([5.0], np.float32)
  read = lambda s: layer_schedule.priorities(start, ['w'], tree.paths(s))
  assert read(state).tolist() == [5.0]
  grads = {'w': jnp.ones((2, 2)), 'bias': jnp.ones(2)}
  updates, state = tx.update(grads, state, params)
  np.testing.assert_allclose(updates['bias'], -0.1)
  np.testing.assert_allclose(read(state), [0.05], rtol=1e-5)
