import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.layers import dropout
from tests.conftest import run_on_devices

SHAPE = (64, 32, 96)
COUNT = 64 * 32 * 96


def bits(seed, shape=SHAPE):
  return np.asarray(dropout.random_bits(jax.random.key(seed), shape))


def apply(x, rate=0.1, train=True, seed=0):
  module = dropout.Dropout(rate)
  return module.apply({}, x, train, rngs={'dropout': jax.random.key(seed)})


@pytest.mark.parametrize('rate', [0.01, 0.1, 0.5, 0.9])
def test_rate_and_scale(rate):
  y = np.asarray(apply(jnp.ones(SHAPE), rate))
  dropped = (y == 0).mean()
  # Four standard deviations of a binomial.
  assert abs(dropped - rate) < 4 * np.sqrt(rate * (1 - rate) / COUNT)
  np.testing.assert_allclose(y[y != 0], 1 / (1 - rate), rtol=1e-6)


def test_identity_unless_training():
  x = jnp.arange(6.0)
  assert apply(x, train=False) is x
  assert dropout.Dropout(0.0).apply({}, x, True) is x


@pytest.mark.parametrize('rate', [-0.1, 1.0])
def test_refuses_a_rate_out_of_range(rate):
  with pytest.raises(ValueError, match='not in'):
    apply(jnp.ones(3), rate)


def test_keeps_the_type():
  assert apply(jnp.ones((4, 4), jnp.bfloat16)).dtype == jnp.bfloat16


def test_every_bit_is_fair():
  values = bits(1)
  for bit in range(32):
    mean = ((values >> bit) & 1).mean()
    assert abs(mean - 0.5) < 4 * 0.5 / np.sqrt(COUNT), bit


@pytest.mark.parametrize('shift', [0, 8, 16, 24])
def test_bytes_are_uniform(shift):
  from scipy import stats

  counts = np.bincount((bits(2).ravel() >> shift) & 255, minlength=256)
  assert stats.chisquare(counts).pvalue > 1e-4


def test_pairs_of_neighbours_are_uniform():
  from scipy import stats

  values = bits(3)
  for axis in range(3):
    high = values.swapaxes(0, axis) >> 28
    pairs = (high[:-1].astype(int) * 16 + high[1:]).ravel()
    pvalue = stats.chisquare(np.bincount(pairs, minlength=256)).pvalue
    assert pvalue > 1e-4, axis


@pytest.mark.parametrize('lag', [1, 2, 3, 7, 64, 96, 128, 96 * 32, 4096])
def test_masks_are_uncorrelated_along_the_array(lag):
  keep = (bits(4).ravel() >= 0.1 * 2**32) - 0.9
  assert abs((keep[lag:] * keep[:-lag]).mean() / 0.09) < 4 / np.sqrt(COUNT)


def test_masks_of_different_keys_are_uncorrelated():
  run = jax.random.key(0)
  keys = [jax.random.fold_in(run, i) for i in range(12)]
  # Raw neighbours too: keys that differ in one bit of one word.
  keys += [jnp.array(k, jnp.uint32) for k in ((0, 0), (0, 1), (1, 0), (1, 1))]
  masks = [np.asarray(dropout.keep_mask(k, 0.1, SHAPE)) - 0.9 for k in keys]
  for i, a in enumerate(masks):
    for b in masks[:i]:
      assert abs((a * b).mean() / 0.09) < 5 / np.sqrt(COUNT)
      # Nor are they one sequence at two offsets.
      assert (a.ravel()[1:] * b.ravel()[:-1]).mean() / 0.09 < 5 / np.sqrt(COUNT)


def test_same_key_same_mask_and_other_key_other_mask():
  x = jnp.ones(SHAPE)
  np.testing.assert_array_equal(apply(x, seed=5), apply(x, seed=5))
  assert (apply(x, seed=5) != apply(x, seed=6)).any()


def test_takes_rbg_keys():
  key = jax.random.key(7, impl='rbg')
  assert abs(dropout.keep_mask(key, 0.1, SHAPE).mean() - 0.9) < 0.01


def test_gradient_uses_the_mask_of_the_forward_pass():
  x = jax.random.normal(jax.random.key(0), SHAPE) + 10

  @jax.jit
  def both(x):
    y, vjp = jax.vjp(apply, x)
    return y, vjp(jnp.ones_like(y))[0]

  y, gradient = both(x)
  np.testing.assert_allclose(y, x * gradient, rtol=1e-6)


SHARDED = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from glue_jax.layers import dropout
mesh = jax.make_mesh((4, 2), ('a', 'b'), axis_types=(AxisType.Auto,) * 2)
fn = lambda x, k: jnp.where(dropout.keep_mask(k, 0.3, x.shape), x, 0)
x, key = jnp.ones((16, 6, 10)), jax.random.key(3)
whole = np.asarray(jax.jit(fn)(x, key))
for spec in (P('a'), P(None, 'b'), P('a', None, 'b'), P(('a', 'b'))):
  put = jax.device_put(x, NamedSharding(mesh, spec))
  out = jax.jit(fn)(put, key)
  assert out.sharding.is_equivalent_to(put.sharding, 3), spec
  assert (np.asarray(out) == whole).all(), spec
  text = jax.jit(fn).lower(put, key).compile().as_text()
  assert 'all-' not in text and 'collective' not in text, spec
"""


def test_sharding_changes_nothing():
  run_on_devices(SHARDED)
