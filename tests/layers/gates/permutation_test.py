"""The local search's permutations: schedule, Sinkhorn, assignment."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from glue_jax.layers.gates import permutation


def thetas(count=3, n=5, seed=0):
  limit = permutation.INIT_RANGE
  return jax.random.uniform(
    jax.random.key(seed), (count, n, n), minval=-limit, maxval=limit
  )


def test_schedule_from_the_first_to_the_last_step():
  tau, iterations = permutation.schedule(jnp.arange(0, 101, 50.0), 100)
  np.testing.assert_allclose(tau, [1e-3, 1e-5, 1e-7], rtol=1e-5)
  assert iterations.tolist() == [20, 85, permutation.MAX_ITERATIONS]


def test_soft_permutations_are_doubly_stochastic():
  soft = permutation.sinkhorn(thetas(), 0.05, 100)
  assert (soft > 0).all()
  np.testing.assert_allclose(soft.sum(-2), 1, atol=1e-5)
  np.testing.assert_allclose(soft.sum(-1), 1, atol=1e-3)
  # Columns are normalised last, so after one iteration only they are exact.
  once = permutation.sinkhorn(thetas(), 0.05, 1)
  np.testing.assert_allclose(once.sum(-2), 1, atol=1e-5)
  assert np.abs(once.sum(-1) - 1).max() > 1e-2


def test_the_assignment_is_the_best_one():
  soft = permutation.sinkhorn(thetas(), 0.02, 50)
  hard = permutation.assign(soft)
  np.testing.assert_array_equal(hard.sum(-1), 1)
  np.testing.assert_array_equal(hard.sum(-2), 1)
  for p, r in zip(np.asarray(hard), np.asarray(soft)):
    rows, columns = scipy.optimize.linear_sum_assignment(r, maximize=True)
    np.testing.assert_allclose((p * r).sum(), r[rows, columns].sum(), 1e-6)


def test_entropy_of_a_hard_permutation_is_nothing():
  hard = jnp.eye(4)[None]
  np.testing.assert_allclose(permutation.entropy(hard), 0, atol=1e-4)
  even = jnp.full((1, 4, 4), 0.25)
  np.testing.assert_allclose(
    permutation.entropy(even), 2 * 4 * np.log(4), rtol=1e-4
  )


def test_permuting_experts_and_weights_together_changes_nothing():
  weights = jax.nn.softmax(jax.random.normal(jax.random.key(0), (6, 5)))
  outputs = jax.random.normal(jax.random.key(1), (6, 5, 3))
  hard = permutation.assign(thetas(1))
  columns = hard[0].argmax(-1)
  moved = permutation.averaged(hard, weights)
  plain = jnp.einsum('te,ted->td', weights, outputs[:, columns])
  np.testing.assert_allclose(
    jnp.einsum('te,ted->td', moved, outputs), plain, atol=1e-6
  )
