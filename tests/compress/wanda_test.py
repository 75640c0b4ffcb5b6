"""WANDA: scores, shares, and weights that stay zero."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from glue_jax.compress import wanda


def test_the_lowest_scores_of_each_output_go():
  kernel = jax.random.normal(jax.random.key(0), (10, 6))
  norms = jnp.arange(1.0, 11)
  mask = np.asarray(wanda.keep_mask(kernel, norms, 0.35))
  assert ((~mask).sum(0) == 3).all()
  score = np.abs(kernel) * np.asarray(norms)[:, None]
  for kept, values in zip(mask.T, score.T):
    assert values[kept].min() > values[~kept].max()
  # Ties: the first go.
  assert wanda.keep_mask(jnp.ones((4, 1)), jnp.ones(4), 0.5)[:, 0].tolist() == [
    False, False, True, True,
  ]  # fmt: skip


def test_prune_touches_the_named_layers_only():
  params = {'a': {'kernel': jnp.ones((4, 3)), 'bias': jnp.ones(3)},
            'b': {'kernel': jnp.ones((4, 3))}}  # fmt: skip
  pruned = wanda.prune(params, {'a': np.arange(4.0)}, 0.5)
  assert pruned['a']['kernel'].sum(0).tolist() == [2, 2, 2]
  np.testing.assert_array_equal(pruned['b']['kernel'], 1)
  np.testing.assert_array_equal(pruned['a']['bias'], 1)


@pytest.mark.parametrize(
  'norms, sparsity, message',
  [
    ({'a': np.ones(4)}, 1.0, 'sparsity=1.0'),
    ({'a': np.ones(5)}, 0.5, r'shape \(4,\)'),
    ({'a': np.full(4, np.nan)}, 0.5, 'finite'),
    ({'c': np.ones(4)}, 0.5, 'another model'),
    ({'p': np.ones(4)}, 0.5, 'list wanda before'),
  ],
)
def test_what_does_not_fit_is_named(norms, sparsity, message):
  params = {'a': {'kernel': jnp.ones((4, 3))}, 'p': {'nf4_codes': jnp.ones(2)}}
  with pytest.raises(ValueError, match=message):
    wanda.prune(params, norms, sparsity)


@pytest.mark.parametrize('content', [None, b'not a zip'])
def test_an_unreadable_file_names_the_command(tmp_path, content):
  path = tmp_path / 'norms.npz'
  if content:
    path.write_bytes(content)
  with pytest.raises(ValueError, match='launch.probe input-norms'):
    wanda.read_norms(str(path))


def test_pruned_weights_stay_zero_and_others_of_zero_learn():
  params = {'a': {'kernel': jnp.array([0.0, 1.0])}, 'b': {'bias': jnp.zeros(2)}}
  tx = optax.chain(
    optax.adamw(0.1), wanda.keep_zeros(lambda name: name == 'a/kernel')
  )
  state = tx.init(params)
  ones = jax.tree.map(jnp.ones_like, params)
  for _ in range(3):
    updates, state = tx.update(ones, state, params)
    params = optax.apply_updates(params, updates)
  assert params['a']['kernel'][0] == 0 and params['a']['kernel'][1] < 1
  assert (params['b']['bias'] < 0).all()
