"""LaMDA's maths: the spectrum, the freezing of rows, what is merged."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from glue_jax.peft import lamda
from tests.conftest import jit
from tests.peft import linear

RANK, ALPHA, WIDTHS = 3, 6.0, (7, 5)


def kernel():
  return np.random.default_rng(0).normal(size=WIDTHS).astype(np.float32)


def test_vectors_have_the_sign_of_their_largest_entry():
  v, sigma, ut = lamda.spectrum(-kernel())
  largest = v[np.abs(v).argmax(0), np.arange(v.shape[1])]
  assert (largest > 0).all() and (np.diff(sigma) <= 0).all()
  np.testing.assert_allclose(v * sigma @ ut, -kernel(), atol=1e-6)
  # The sign of the matrix is all in the left vectors.
  other, _, opposite = lamda.spectrum(kernel())
  np.testing.assert_allclose(other, v, atol=1e-12)
  np.testing.assert_allclose(opposite, -ut, atol=1e-12)


@pytest.mark.parametrize('init', ['svd_residual', 'svd_zero'])
def test_a_layer_that_starts_from_its_spectrum_is_itself(init):
  found = lamda.decompose(kernel(), RANK, ALPHA, init)
  leaves = linear.tree(bias=np.ones(WIDTHS[1]), **found)
  plug = lamda.plug(linear.SITE, lambda path: RANK, ALPHA)
  x = np.random.default_rng(1).normal(size=(4, WIDTHS[0]))
  y = linear.apply(plug, WIDTHS[1])(leaves, {'x': jnp.asarray(x, 'float32')})
  np.testing.assert_allclose(y['y'], x @ kernel() + 1, atol=1e-5)
  merged = lamda.merge(leaves, ALPHA)[linear.SITE]
  assert sorted(merged) == ['bias', 'kernel']
  np.testing.assert_allclose(merged['kernel'], kernel(), atol=1e-5)
  if init == 'svd_residual':
    rest = lamda.spectrum(found['kernel'])[1]
    np.testing.assert_allclose(rest[-RANK:], 0, atol=1e-5)
  else:
    np.testing.assert_array_equal(found['kernel'], kernel())


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_values_that_are_not_finite(value):
  broken = kernel()
  broken[2, 1] = value
  with pytest.raises(ValueError, match='site/kernel: 1 of 35 values are not f'):
    lamda.decompose(broken, RANK, ALPHA, 'svd_zero', 'site/kernel')


@pytest.mark.parametrize('schedule', lamda.SCHEDULES)
@pytest.mark.parametrize('rank, total, rate', [(4, 20, 0.3), (8, 7, 0.9)])
def test_the_mask_is_the_inverse_of_the_counter(rank, total, rate, schedule):
  first = lamda.freezing_steps(rank, total, rate, schedule)
  for step in range(1, total + 1):
    count = lamda.frozen_rows(step, rank, total, rate, schedule)
    assert (first <= step).sum() == count
    # Leading rows first.
    assert (first[:count] <= step).all()


def test_without_a_phase_all_is_frozen_from_the_start():
  np.testing.assert_array_equal(lamda.freezing_steps(4, 10, 0.0), [1] * 4)


def test_the_released_counter_stops_at_the_inverse_rate():
  assert lamda.frozen_rows(1000, 8, 1000, 0.3, 'released') == 3
  assert lamda.freezing_steps(8, 1000, 0.3, 'released')[-1] == 1001


def run(gradient_only=False, total=6, rate=0.9):
  """B and S after each step of AdamW with the gradual freezing, and a count."""
  steps_of = lambda rank: lamda.freezing_steps(rank, total, rate)
  tx = lamda.freeze_gradually(
    optax.adamw(1e-1, weight_decay=0.1), linear.SITE, steps_of, gradient_only
  )
  found = lamda.decompose(kernel(), RANK, ALPHA, 'svd_residual')
  now = linear.tree(lamda_s=found['lamda_s'], lamda_b=found['lamda_b'])
  state = tx.init(now)

  @jit
  def step(now, state):
    inner = lambda p: p['layer']['lamda_s'] @ p['layer']['lamda_b']
    grads = jax.grad(lambda p: jnp.square(inner(p) - 1).sum())(now)
    updates, state = tx.update(grads, state, now)
    return optax.apply_updates(now, updates), state

  seen = [now]
  for _ in range(total):
    now, state = step(now, state)
    seen.append(now)
  assert int(state.count) == total
  seen = [jax.tree.map(np.asarray, x['layer']) for x in seen]
  return seen, steps_of(RANK)


def test_frozen_rows_are_bit_equal_and_the_others_move():
  seen, first = run()
  for step in range(1, len(seen)):
    before, after = seen[step - 1], seen[step]
    for row, start in enumerate(first):
      same = before['lamda_b'][row] == after['lamda_b'][row]
      assert same.all() if step >= start else not same.any()
    assert (before['lamda_s'] != after['lamda_s']).any()


def test_a_masked_gradient_alone_does_not_stop_a_row():
  seen, first = run(gradient_only=True)
  last = first[-1]
  assert last < len(seen)
  moved = seen[last]['lamda_b'] != seen[last - 1]['lamda_b']
  assert moved.all()


def test_updated_parameters_are_counted_from_what_moves():
  total, shapes = 6, {'a': (3, 5), 'b': (2, 7)}
  steps_of = lambda rank: lamda.freezing_steps(rank, total, 0.9)
  counted = 0
  for step in range(1, total + 1):
    for rank, size in shapes.values():
      moving = rank - lamda.frozen_rows(step, rank, total, 0.9)
      counted += rank * rank + size * moving
  found = lamda.updated_parameters(shapes, steps_of, total)
  assert found == pytest.approx(counted / total)
