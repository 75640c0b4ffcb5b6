import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from glue_jax import tree
from glue_jax.optim import adam as moments
from glue_jax.optim import galore, natural_galore
from tests.conftest import jit
from tests.golden import __main__ as golden
from tests.golden import natural_galore as vectors

PARAMS = {
  'layer_0': {'kernel': jnp.zeros((12, 7)), 'bias': jnp.zeros(7)},
  'head': {'kernel': jnp.zeros((2, 3))},
}


@pytest.mark.parametrize(
  'name',
  ['natural_onesided_tall', 'natural_twosided_square', 'natural_twosided_wide'],
)
def test_golden(name):
  path = golden.OWN / 'natural-galore' / f'{name}.npz'
  assert golden.check_file(vectors, 'natural-galore', path)


def gradients(steps, shape, seed=0):
  x = np.random.default_rng(seed).normal(size=(steps, *shape))
  return x.astype(np.float32)


@functools.cache
def transformed(history, damping, relative=False, shape=(4, 3), steps=6):
  """x~ of every step."""
  tx = natural_galore.scale_by_fisher(history, damping, relative)

  def step(state, g):
    return tx.update(g, state)[::-1]

  grads = gradients(steps, shape)
  scan = jit(lambda state, g: jax.lax.scan(step, state, g))
  return np.asarray(scan(tx.init(jnp.zeros(shape)), grads)[1])


def exact(grads, history, damping, relative=False):
  """(lambda I + H H^T)^-1 x in float64, from the definition."""
  found = []
  for t in range(len(grads)):
    h = grads[max(0, t + 1 - history) : t + 1].reshape(-1, grads[0].size).T
    h = h.astype(np.float64)
    shift = damping * ((h**2).sum() / h.shape[1] if relative else 1)
    fisher = shift * np.eye(len(h)) + h @ h.T
    found.append(np.linalg.solve(fisher, h[:, -1]).reshape(grads[0].shape))
  return np.array(found)


@pytest.mark.parametrize('relative', [False, True])
@pytest.mark.parametrize('history', [1, 4, 20])
def test_it_is_the_damped_inverse_also_before_the_history_is_full(
  history, relative
):
  ours = transformed(history, 0.1, relative)
  wanted = exact(gradients(6, (4, 3)), history, 0.1, relative)
  np.testing.assert_allclose(ours, wanted, atol=1e-5, rtol=1e-4)


def test_a_history_of_one_divides_by_the_norm():
  g = gradients(6, (4, 3))
  norms = (g**2).sum((1, 2), keepdims=True)
  np.testing.assert_allclose(
    transformed(1, 1e-3), g / (1e-3 + norms), rtol=1e-5
  )


def test_matrices_of_a_stack_have_a_fisher_each():
  g = gradients(6, (2, 4, 3))
  wanted = [exact(g[:, i], 4, 0.1) for i in range(2)]
  np.testing.assert_allclose(
    transformed(4, 0.1, shape=(2, 4, 3)), np.stack(wanted, 1), atol=1e-5
  )


def test_equal_gradients_of_any_size_stay_finite():
  # The Gram matrix is singular, and its rounding is above the damping.
  tx = natural_galore.scale_by_fisher(5, 1e-3)
  update = jit(tx.update)
  g = 300 * gradients(1, (6, 5))[0]
  state = tx.init(g)
  for _ in range(6):
    out, state = update(g, state)
    assert np.isfinite(out).all()
  # In exact arithmetic x / (lambda + 5 |x|^2).
  wanted = g / (5 * (g**2).sum())
  assert np.linalg.norm(out - wanted) < 0.3 * np.linalg.norm(wanted)


def test_large_damping_gives_galore():
  kwargs = dict(rank=3, update_proj_gap=3, projection='std')
  adam = moments.scale_by_adam(eps=1e-20)
  runs = []
  for tx in (
    natural_galore.scale_by_natural_galore(adam, damping=1e7, **kwargs),
    galore.scale_by_galore(adam, **kwargs),
  ):
    state, step = tx.init(PARAMS), jit(tx.update)
    for i in range(5):
      g = jax.tree.map(lambda p, i=i: gradients(5, p.shape)[i], PARAMS)
      updates, state = step(g, state)
    runs.append(tree.flatten(updates))
  for name in runs[0]:
    np.testing.assert_allclose(runs[0][name], runs[1][name], atol=1e-5)


def test_state_sizes_and_who_is_transformed():
  r, s = 3, 4
  for projection, k in (
    ('std', 12 * r),
    ('reverse_std', r * 7),
    ('full', r * r),
  ):
    tx = natural_galore.core(rank=r, history=s, projection=projection)
    state = jax.eval_shape(tx.init, PARAMS)
    fisher = state.inner[0].inner_state
    assert [x.shape for x in jax.tree.leaves(fisher.gram)] == [(s, s)]
    assert sum(x.size for x in jax.tree.leaves(fisher.history)) == s * k
  assert (state.left['layer_0']['kernel'].shape) == (12, r)
  assert (state.right['layer_0']['kernel'].shape) == (r, 7)


@pytest.mark.parametrize(
  'kwargs, message',
  [
    (dict(history=0), 'history=0; expected an integer of 1'),
    (dict(damping=0.0), 'damping=0.0; expected a number above 0'),
    (dict(rank=8), 'rank 8 is over the size'),
  ],
)
def test_bad_input_is_named_before_any_step(kwargs, message):
  with pytest.raises(ValueError, match=message):
    natural_galore.core(**({'rank': 2} | kwargs)).init(PARAMS)


def test_it_chains_and_other_leaves_have_plain_adam():
  g = jax.tree.map(lambda p: gradients(1, p.shape)[0], PARAMS)
  clip, adam = optax.clip_by_global_norm(1.0), moments.scale_by_adam()
  tx = optax.chain(clip, natural_galore.core(rank=2), optax.scale(-1e-2))
  ours, _ = jit(tx.update)(g, tx.init(PARAMS))
  theirs, _ = adam.update(clip.update(g, clip.init(g))[0], adam.init(PARAMS))
  for name in ('layer_0/bias', 'head/kernel'):
    np.testing.assert_allclose(
      tree.flatten(ours)[name], -1e-2 * tree.flatten(theirs)[name], atol=1e-6
    )
