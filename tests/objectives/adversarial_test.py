import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.objectives import adversarial
from tests import quick


def test_a_step_is_as_long_as_it_says_and_none_without_a_gradient():
  rng = np.random.default_rng(0)
  gradient = rng.normal(size=(2, 5, 8)).astype(np.float32)
  gradient[1, 3:] = 0  # padding
  delta = np.float32(rng.normal(size=gradient.shape))
  moved = adversarial.ascend(delta, gradient, 0.1) - delta
  longest = np.abs(moved).max(-1)
  np.testing.assert_allclose(longest[0], 0.1, rtol=1e-3)
  assert (longest <= 0.1 + 1e-6).all() and not longest[1, 3:].any()
  gradient[0, 0, 0] = np.inf
  np.testing.assert_array_equal(adversarial.ascend(delta, gradient, 0.1), delta)


def test_the_divergence_is_least_where_both_agree():
  rng = np.random.default_rng(0)
  a, b = (np.float32(rng.normal(size=(4, 3))) for _ in range(2))

  def entropy(logits):
    p = jax.nn.softmax(logits)
    return -(p * jnp.log(p)).sum(-1)

  of = adversarial.divergence
  assert (of('symmetric-kl', a, b) > entropy(a) + entropy(b)).all()
  np.testing.assert_allclose(
    of('symmetric-kl', a, a), 2 * entropy(a), rtol=1e-6
  )
  assert not of('mse', a, a).any()

  def slopes(kind):
    return jax.grad(lambda a, b: of(kind, a, b).sum(), argnums=(0, 1))(a, b)

  both, one = slopes('symmetric-kl'), slopes('kl')
  np.testing.assert_allclose(both[0], one[0], rtol=1e-6)
  # The other one's gradient reaches the clean pass.
  assert not one[1].any()
  np.testing.assert_allclose(
    both[1], jax.nn.softmax(b) - jax.nn.softmax(a), atol=1e-6
  )


def test_a_rows_start_is_its_own():
  seeds = jnp.arange(8, dtype=jnp.uint32)
  draw = quick.jit(adversarial.start, static_argnums=(1, 2))
  whole = draw(seeds, (16, 5, 4), 0.1)  # two choices a row
  np.testing.assert_array_equal(draw(seeds[2:4], (4, 5, 4), 0.1), whole[4:8])
  assert np.abs(whole).max() == np.float32(0.2)
  assert 0.08 < np.asarray(whole).std() < 0.1
