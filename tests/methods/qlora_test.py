"""QLoRA, NF4 and WANDA as methods: order, labels, what is packed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.compress import nf4
from glue_jax.training import begin, schema
from tests.conftest import tiny_config


def parts_of(*methods, **model):
  config = tiny_config(methods=methods, model=model)
  return begin.build(schema.bind(config, 4), 0)


@pytest.fixture(scope='module')
def norms(tmp_path_factory):
  """Norms of one layer's inputs."""
  path = tmp_path_factory.mktemp('wanda') / 'norms.npz'
  np.savez(path, **{'encoder/layer_0/ffn/ffn_in': np.ones(16)})
  return str(path)


def moved(params):
  """The tree with factors and vectors that do something."""

  def move(name, x):
    if not name.endswith(('lora_a', 'lora_b', 'ia3_scale')):
      return x
    return x + jax.random.normal(jax.random.key(x.size), x.shape)

  return tree.map_named(move, params)


@pytest.mark.parametrize('order', ['lora ia3', 'ia3 lora', 'nf4 ia3'])
def test_methods_on_one_layer_merge_in_their_order(order):
  given = dict(lora=dict(rank=2, targets=('value', 'ffn_out')))
  methods = [(name, given.get(name, {})) for name in order.split()]
  parts = parts_of(*methods, init_range=0.3)
  batch = parts.bundle.train.batch(0)
  params = moved(parts.params)
  ours = parts.apply(params, batch)['logits']
  merged = parts.plain(parts.method.export(params), batch)['logits']
  np.testing.assert_allclose(merged, ours, atol=1e-4)
  plain = parts.apply(parts.params, batch)['logits']
  assert np.abs(ours - plain).max() > 0.05


def test_all_linear_layers_are_packed_and_tuned_nothing_else():
  parts = parts_of(('qlora', dict(rank=2)))
  flat = tree.flatten(parts.params)
  sites = {
    n.removesuffix('/nf4_codes') for n in flat if n.endswith('nf4_codes')
  }
  assert len(sites) == 12  # 6 a block
  assert all(f'{site}/lora_a' in flat for site in sites)
  assert not any(f'{site}/kernel' in flat for site in sites)
  learns = parts.method.learns(flat, {})
  factors = {n for n in flat if '/lora_' in n}
  assert learns == factors | {n for n in flat if n.startswith('head/')}


def test_activations_are_of_the_computation_type():
  parts = parts_of(('qlora', dict(rank=2)), dtype='bfloat16')
  outputs = jax.eval_shape(
    parts.apply, parts.params, parts.bundle.train.batch(0)
  )
  assert outputs['last_hidden'].dtype == jnp.bfloat16


def test_what_tunes_packed_weights_comes_after_them():
  parts = parts_of(('nf4', {}), ('lora', dict(rank=2)))
  batch = parts.bundle.train.batch(0)
  params = moved(parts.params)
  merged = parts.plain(parts.method.export(params), batch)['logits']
  ours = parts.apply(params, batch)['logits']
  np.testing.assert_allclose(merged, ours, atol=1e-5)
  with pytest.raises(ValueError, match='list the method that packs'):
    parts_of(('lora', dict(rank=2)), ('nf4', {}))


def test_pruned_weights_are_zero_in_the_packed_model(norms):
  prune = ('wanda', dict(norms=norms, sparsity=0.5))
  parts = parts_of(prune, ('qlora', dict(rank=2)))
  exported = parts.method.export(parts.params)
  kernel = np.asarray(
    tree.flatten(exported)['encoder/layer_0/ffn/ffn_in/kernel']
  )
  assert ((kernel == 0).sum(0) >= 8).all()
  with pytest.raises(ValueError, match='list wanda before'):
    parts_of(('nf4', {}), prune)


def test_an_unknown_target_lists_the_layers():
  with pytest.raises(ValueError, match='qlora: the model has no layer .*quary'):
    parts_of(('qlora', dict(targets=('quary',))))
  assert nf4.BLOCK == 64
