"""NF4: the library's vectors, properties of the code, packed layers."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.compress import nf4
from glue_jax.layers import dense
from glue_jax.layers.ffn import feedforward
from glue_jax.plugs import Apply, Plug
from tests.conftest import ROOT, jit
from tests.golden import __main__ as golden
from tests.golden._nf4 import compare_nf4

FILES = sorted((ROOT / 'tests/golden_data/peft-baselines').glob('nf4_*.npz'))


quantise = jax.jit(nf4.quantise)
dequantise = jax.jit(nf4.dequantise, static_argnums=2)


def gaussian(*shape, seed=0):
  return 0.02 * np.random.default_rng(seed).normal(size=shape).astype('f4')


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_golden_vectors(path):
  arrays = dict(np.load(path))
  rows = [golden.measure(*row) for row in compare_nf4(arrays)]
  assert {row['name']: row['used'] for row in rows if row['used'] > 1} == {}
  with pytest.raises(ValueError, match="'new'"):
    compare_nf4(arrays | {'new': np.zeros(1)})


def test_blocks_of_zeros_and_of_an_outlier():
  w = np.zeros((3, 64), np.float32)
  w[1, 5], w[2] = -0.5, 0.01
  packed, absmax = quantise(jnp.asarray(w))
  np.testing.assert_array_equal(packed[0], 0x77)
  np.testing.assert_allclose(absmax, [0, 0.5, 0.01])
  np.testing.assert_allclose(dequantise(packed, absmax, w.shape), w)
  # One block: its absmax is the mean, nothing is left to quantise.
  codes, scale, offset = nf4.quantise_absmax(absmax[1:2])
  assert int(codes[0]) == 0 and float(scale[0]) == 0 and float(offset) == 0.5


def test_the_first_of_two_is_in_the_high_bits():
  w = jnp.array([-1.0, 1.0] + [0.0] * 62)
  packed, _ = quantise(w)
  assert packed[0, 0] == 0x0F and packed[0, 1] == 0x77


def test_packing_what_was_unpacked_changes_nothing():
  w = gaussian(37, 29)
  packed, absmax = quantise(w)
  once = dequantise(packed, absmax, w.shape)
  again, scales = quantise(once)
  np.testing.assert_array_equal(again, packed)
  np.testing.assert_array_equal(scales, absmax)
  # Half the widest gap between levels, on the negative side.
  limit = np.repeat(absmax, nf4.BLOCK)[: w.size].reshape(w.shape) * 0.152
  assert (np.abs(once - w) <= limit).all()


def test_bits_per_weight():
  for double, bits in ((False, 4.5), (True, 4 + 8 / 64 + 32 / (64 * 256))):
    leaves = nf4.shapes((768, 3072), double)
    found = nf4.bits_per_weight(leaves, 768 * 3072)
    assert found == pytest.approx(bits, abs=1e-4)


class Layers(nn.Module):
  """Two linear layers, for plugs."""

  @nn.compact
  def __call__(self, batch, train):
    h = nn.Dense(24, dot_general=dense.dot_general, name='first')(batch['x'])
    h = feedforward.Activation('tanh', name='act')(h)
    return {'y': nn.Dense(5, use_bias=False, name='second')(h)}


@pytest.fixture(scope='module')
def layers():
  batch = {'x': jnp.asarray(gaussian(2, 3, 10) * 50)}
  plain = Apply(Layers())
  return plain, plain.init(jax.random.key(1), batch), batch


@pytest.mark.parametrize('double', [True, False])
def test_packed_layers_are_the_dequantised_ones(layers, double):
  plain, params, batch = layers
  packed = nf4.pack_tree(params, 'first|second', double)
  shapes = {n: x.shape for n, x in tree.flatten(params).items()}
  back = nf4.unpack_tree(packed, shapes)
  assert not any('kernel' in name for name in tree.flatten(packed))
  apply = plain.replace(plugs=(nf4.plug('first|second', double),))

  def output(apply, params):
    loss = lambda x: jnp.sum(jnp.sin(apply(params, {'x': x})['y']))
    return jit(jax.value_and_grad(loss))(batch['x'])

  for ours, theirs in zip(output(apply, packed), output(plain, back)):
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
  names = {n.rpartition('/')[2] for n in tree.flatten(packed)}
  assert names == {'bias', *(nf4.LEAVES if double else nf4.LEAVES[:2])}


def test_the_backward_pass_keeps_no_kernel():
  leaves = jit(nf4.pack)(gaussian(64, 96))
  x = jnp.ones((2, 64))
  _, pullback = jax.vjp(lambda x: nf4.matmul(x, leaves, 96), x)
  kept = [leaf.size for leaf in jax.tree.leaves(pullback)]
  assert max(kept, default=0) <= 64 * 96 // 2


def test_wrong_places_are_refused(layers):
  plain, params, batch = layers
  with pytest.raises(ValueError, match='linear layers'):
    plain.replace(plugs=(nf4.plug('act'),)).init(jax.random.key(0), batch)
  before = Plug('first', lambda site, next_fn, x: next_fn(x))
  with pytest.raises(ValueError, match='list the method that packs'):
    plain.replace(plugs=(before, nf4.plug('first'))).init(
      jax.random.key(0), batch
    )
  with pytest.raises(ValueError, match='matches none'):
    nf4.pack_tree(params, 'third')
  with pytest.raises(ValueError, match='even'):
    nf4.quantise(jnp.ones(4), block=3)
