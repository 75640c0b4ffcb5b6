import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.method import Method
from glue_jax.models import model as models
from glue_jax.peft import adapter, lora
from glue_jax.plugs import Apply, Plug, Recorder
from glue_jax.training.compose import add_leaves, compose

BATCH = {
  'input_ids': np.arange(1, 13, dtype=np.int32).reshape(2, 6),
  'attention_mask': np.ones((2, 6), np.int32),
  'token_type_ids': np.zeros((2, 6), np.int32),
}


@pytest.fixture(scope='module')
def plain():
  module = models.build(
    'bert',
    'tiny',
    kind='classification',
    num_outputs=3,
    vocab_size=20,
    hidden_size=8,
    intermediate_size=16,
    max_positions=8,
  )
  return Apply(module)


@pytest.fixture(scope='module')
def params(plain):
  return plain.init(jax.random.key(0), BATCH)


LORA = lora.plug(r'encoder/.*/(query|value)', 2, 1.0)


def test_plugs_leave_the_model_untouched_and_add_named_leaves(plain, params):
  method = Method('lora', plugs=(LORA,))
  both, leaves = add_leaves(jax.random.key(1), params, plain, [method], BATCH)
  assert set(leaves.owners) == {
    f'encoder/layer_{i}/mixer/{site}/lora_{f}'
    for i in range(2)
    for site in ('query', 'value')
    for f in 'ab'
  }
  for name, leaf in tree.flatten(params).items():
    np.testing.assert_array_equal(leaf, tree.flatten(both)[name])
  # B = 0: the identity at the start.
  plugged = plain.replace(plugs=(LORA,))
  ours, base = plugged(both, BATCH), plain(params, BATCH)
  np.testing.assert_array_equal(ours['logits'], base['logits'])


def test_plugs_work_inside_jit_and_under_remat(plain, params):
  half = Plug('encoder/layer_0/ffn', lambda s, f, *a: 0.5 * f(*a))
  plugged = plain.replace(plugs=(half,))
  expected = plugged(params, BATCH)['logits']
  assert not np.allclose(expected, plain(params, BATCH)['logits'])
  np.testing.assert_allclose(
    jax.jit(plugged)(params, BATCH)['logits'], expected, atol=1e-6
  )
  module = plain.model
  config = module.config.__class__(
    **{**vars(module.config), 'remat': True, 'dropout': 0.0}
  )
  remat = plugged.replace(model=module.clone(config=config))

  def loss(p):
    return remat(p, BATCH, train=False)['logits'].sum()

  np.testing.assert_allclose(
    jax.jit(jax.value_and_grad(loss))(params)[0], expected.sum(), atol=1e-5
  )


def test_a_variant_runs_the_network_of_its_shape(plain, params):
  def depth(config, variant):
    return dataclasses.replace(config, num_layers=variant.get('depth', 2))

  def deeper(config, variant):  # sees what the one before has made
    return dataclasses.replace(config, num_layers=config.num_layers - 1)

  one = dataclasses.replace(plain.model.config, num_layers=1)
  expected = Apply(plain.model.clone(config=one))(params, BATCH)['logits']
  shaped = plain.replace(shape=depth)
  small = shaped.replace(variant={'depth': 1})
  np.testing.assert_array_equal(small(params, BATCH)['logits'], expected)
  # Back from the whole model, and of whatever model is put in its place.
  whole = plain(params, BATCH)['logits']
  again = small.replace(variant={}, step=3)
  np.testing.assert_array_equal(again(params, BATCH)['logits'], whole)
  assert not np.array_equal(whole, expected)
  other = plain.model.clone(config=dataclasses.replace(one, dropout=0.5))
  assert again.replace(model=other).model.config.num_layers == 2
  assert again.replace(model=other).model.config.dropout == 0.5
  both = compose([Method('a', shape=depth), Method('b', shape=deeper)])
  made = plain.replace(shape=both.shape)
  np.testing.assert_array_equal(made(params, BATCH)['logits'], expected)


def test_later_plugs_wrap_earlier_ones(plain, params):
  double = Plug('head', lambda s, f, *a: {'logits': 2 * f(*a)['logits']})
  add = Plug('head', lambda s, f, *a: {'logits': f(*a)['logits'] + 1})
  base = plain(params, BATCH)['logits']
  out = plain.replace(plugs=(double, add))(params, BATCH)['logits']
  np.testing.assert_allclose(out, 2 * base + 1, rtol=1e-6)


def test_captured_values_come_out_by_path(plain, params):
  def capture(site, next_fn, *args):
    out = next_fn(*args)
    site.capture('mean', out.mean())
    return out

  plugged = plain.replace(plugs=(Plug(r'encoder/layer_\d+/ffn', capture),))
  captured = jax.jit(plugged)(params, BATCH)['captured']
  assert set(captured) == {f'encoder/layer_{i}/ffn/mean' for i in range(2)}


def test_a_plug_that_sits_nowhere_is_an_error_listing_the_layers(plain, params):
  lost = Method('lost', plugs=(Plug('encoder/layer_9', lambda s, f: f()),))
  with pytest.raises(ValueError, match='lost: .*layer_9; .* have .*, ffn,'):
    add_leaves(jax.random.key(0), params, plain, [lost], BATCH)


def test_two_methods_adding_one_leaf_is_an_error(plain, params):
  pair = [Method('a', plugs=(LORA,)), Method('b', plugs=(LORA,))]
  with pytest.raises(ValueError, match="b .beside a.: adds .*lora_a': 'a'"):
    add_leaves(jax.random.key(0), params, plain, pair, BATCH)


def test_a_rank_over_the_layers_size_is_refused(plain, params):
  wide = Method('lora', plugs=(lora.plug('encoder/.*/query', 9, 1.0),))
  with pytest.raises(ValueError, match='rank=9 exceeds .*8 at encoder/layer_0'):
    add_leaves(jax.random.key(0), params, plain, [wide], BATCH)


def test_recorder_keeps_outputs_and_looks_like_apply(plain, params):
  recorder = Recorder(plain.replace(step=3))
  recorder(params, BATCH)
  assert recorder.step == 3
  assert recorder.outputs[0]['logits'].shape == (2, 3)


def test_lora_merge_equals_the_trained_forward(plain, params):
  method = Method('lora', plugs=(LORA,))
  both, _ = add_leaves(jax.random.key(1), params, plain, [method], BATCH)

  def noise(n, x):
    return x + 0.1 * (n[-1] == 'b') * jnp.ones_like(x)

  both = tree.map_named(noise, both)
  merged = lora.merge(both, 1.0)
  assert tree.flatten(merged).keys() == tree.flatten(params).keys()
  np.testing.assert_allclose(
    plain(merged, BATCH)['logits'],
    plain.replace(plugs=(LORA,))(both, BATCH)['logits'],
    atol=1e-5,
  )


def test_adapter_is_the_bottleneck_with_its_residual():
  x = jnp.array([[1.0, -2.0]])
  down = (jnp.array([[1.0], [1.0]]), jnp.array([0.5]))
  up = (jnp.array([[2.0, 3.0]]), jnp.array([0.1, 0.2]))
  # relu(1 - 2 + .5) = 0: only the bias is left.
  out = adapter.bottleneck(x, down, up, jax.nn.relu)
  np.testing.assert_allclose(out, [[0.1, 0.2]])
