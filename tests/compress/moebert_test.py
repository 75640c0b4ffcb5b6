"""Importance of neurons, against gradients of single examples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.compress import moebert


def network(params, batch):
  """Mean loss of a two-layer network."""
  layer = params['encoder']['layer_0']['ffn']
  h = jnp.tanh(batch['x'] @ layer['ffn_in']['kernel'])
  y = h @ layer['ffn_out']['kernel']
  return jnp.square(y - batch['y']).sum(-1).mean()


def test_importance_is_the_sum_of_single_examples():
  rng = np.random.default_rng(0)
  draw = lambda *size: jnp.asarray(rng.normal(size=size), jnp.float32)
  ffn = {'ffn_in': {'kernel': draw(3, 5)}, 'ffn_out': {'kernel': draw(5, 2)}}
  params = {'encoder': {'layer_0': {'ffn': ffn}}}
  weight = jnp.array([1.0, 1.0, 0.0, 1.0])
  batch = {'x': draw(4, 3), 'y': draw(4, 2), 'weight': weight}
  found = moebert.importance(network, params, batch)
  expected = np.zeros(5)
  for i in (0, 1, 3):
    row = {k: v[i : i + 1] for k, v in batch.items()}
    g = jax.grad(network)(params, row)['encoder']['layer_0']['ffn']
    product = lambda name: np.asarray(ffn[name]['kernel'] * g[name]['kernel'])  # noqa: B023
    both = product('ffn_in').sum(0) + product('ffn_out').sum(1)
    expected += np.abs(both)
  np.testing.assert_allclose(found['layer_0'], expected, rtol=1e-5)


def test_every_neuron_is_dealt_once_and_shared_ones_to_all():
  scores = np.random.default_rng(0).permutation(20)
  found = moebert.neurons(scores, 4, 4, 8)
  ranked = np.argsort(-scores)
  np.testing.assert_array_equal(found[:, :4], np.tile(ranked[:4], (4, 1)))
  own = found[:, 4:]
  np.testing.assert_array_equal(own.T.reshape(-1), ranked[4:])


def test_mistakes():
  with pytest.raises(ValueError, match='do not divide among 3 experts'):
    moebert.neurons(np.zeros(20), 3, 4, 8)
  with pytest.raises(ValueError, match='no dense feed-forward part'):
    moebert.importance(network, {'encoder': {}}, {})
  layer = {'ffn': {'experts_in': {'kernel': jnp.zeros((2, 3, 4))}}}
  with pytest.raises(ValueError, match=r"no importance for \['layer_0'\]"):
    moebert.experts_from_dense({'encoder': {'layer_0': layer}}, {}, {}, 0)
