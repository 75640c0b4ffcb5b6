"""The reversible stack in a model: the same function, the same gradient."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.layers.stacks.reversible import MEASURED, VARIANTS
from glue_jax.methods import meft
from glue_jax.models.model import build, shapes
from glue_jax.peft import lora
from glue_jax.plugs import Apply, Plug
from glue_jax.weights import huggingface
from tests.conftest import jit

BATCH = {
  'input_ids': np.arange(1, 17, dtype=np.int32).reshape(2, 8),
  'attention_mask': np.array([[1] * 8, [1] * 5 + [0] * 3], np.int32),
}
SIZES = dict(
  vocab_size=40, hidden_size=16, intermediate_size=32, num_layers=2,
  max_positions=8,
)  # fmt: skip


def model(options=None, **changes):
  return build(
    'bert',
    'tiny',
    **(
      dict(SIZES, kind='classification', num_outputs=3, stack='reversible')
      | changes
    ),
    options={'reversible': options or {}},
  )


def adapted(options=None, plugs=(), **changes):
  module = model(options, **changes)
  context = types.SimpleNamespace(model=module)
  return Apply(module, (*meft.make(context, size=4).plugs, *plugs))


def gradients(apply, params):
  """Loss and gradients of what isn't the backbone's, with dropout."""

  def learns(n):
    return n.startswith('head/') or '/adapter_' in n or '/lora_' in n

  train, frozen = tree.partition(params, learns)

  def loss(train, frozen, key):
    logits = apply(tree.merge(train, frozen), BATCH, True, key)['logits']
    return (logits.astype(jnp.float32) * jnp.arange(6.0).reshape(2, 3)).sum()

  value, by_leaf = jit(jax.value_and_grad(loss))(
    train, frozen, jax.random.key(3)
  )
  return value, tree.flatten(by_leaf)


@pytest.mark.parametrize('variant', VARIANTS)
def test_gradients_with_dropout_are_those_of_the_ordinary_pass(variant):
  # LoRA inside: plugs of other methods see the backward pass as well.
  extra = lora.plug(r'encoder/layer_\d+/mixer/value', 2, 1.0, dropout=0.2)

  def make(**options):
    return adapted(dict(variant=variant, **options), (extra,))

  params = make().init(jax.random.key(0), BATCH)
  params = tree.map_named(
    lambda n, x: x + 0.1 if n.endswith('lora_b') else x, params
  )
  value, expected = gradients(make(layers=0), params)
  for options in (dict(), dict(layers=1)):
    again, actual = gradients(make(**options), params)
    assert again == value
    assert actual.keys() == expected.keys()
    for name, x in expected.items():
      scale = float(jnp.abs(x).max())
      assert scale > 0, name
      np.testing.assert_allclose(
        actual[name], x, atol=1e-3 * scale, err_msg=name
      )


def test_adapters_are_at_their_places():
  def names(variant):
    return {
      n.split('layer_0/')[1]
      for n in tree.flatten(
        jax.eval_shape(
          adapted(dict(variant=variant)).init, jax.random.key(0), BATCH
        )
      )
      if 'layer_0/' in n and '/adapter_' in n
    }

  def leaves(place):
    return {
      f'{place}/adapter_{end}_{kind}'
      for end in ('down', 'up')
      for kind in ('kernel', 'bias')
    }

  assert names('meft1') == leaves('beside') | leaves('ffn')
  assert names('meft2') == names('meft1')
  assert names('meft3') == leaves('mixer') | leaves('ffn')


def test_without_layers_the_embeddings_come_out():
  module = model(num_layers=0)
  out, _ = module.init_with_output(jax.random.key(0), BATCH)
  np.testing.assert_array_equal(out['last_hidden'], out['hidden_states'][0])


def test_bfloat16_blocks_keep_float32_streams():
  apply = adapted(dict(measure=True), dtype='bfloat16')
  params = apply.init(jax.random.key(0), BATCH)
  out = jit(apply)(params, BATCH)
  assert out['last_hidden'].dtype == jnp.bfloat16
  error = out['captured'][f'encoder/{MEASURED}']
  assert error.dtype == jnp.float32 and error.shape == (1,)
  # With streams in bfloat16 the first of two layers would be off by 0.04 x 10.
  assert float(error[0]) < 0.02
  _, by_leaf = gradients(apply, params)
  assert all(np.isfinite(x).all() for x in by_leaf.values())


@pytest.mark.parametrize(
  'options,changes,message',
  [
    (dict(variant='meft4'), {}, r"variant='meft4'; expected one of \['meft1'"),
    (dict(segment=0), {}, 'segment=0; expected an integer of 1'),
    (dict(layers=-1), {}, 'layers=-1; expected an integer of 0'),
    (dict(layers=3), {}, 'layers=3 exceeds the 2 layers'),
    (dict(factors=(0.0, 1.0)), {}, 'must be finite and not 0'),
    (dict(factors=(1.0,)), {}, r'factors=.*; expected \(a number, a num'),
    (dict(segmnt=2), {}, r"nothing reads \['segmnt'\]; it takes"),
    ({}, dict(remat=True), 'model.remat recomputes'),
    ({}, dict(ffn=('', 'feedforward')), r'layers \[0\] have model.ffn'),
  ],
)
def test_what_cannot_be_is_refused_when_the_model_is_built(
  options, changes, message
):
  with pytest.raises(ValueError, match=message):
    model(options, **changes)


def test_blocks_that_hand_values_out_are_refused_before_training():
  def capture(site, next_fn, *args):
    y = next_fn(*args)
    site.capture('size', y)
    return y

  plug = Plug(r'encoder/layer_\d+/ffn', capture)
  apply = adapted(plugs=(plug,))
  with pytest.raises(ValueError, match='ffn/size.* out of encoder/layer_0'):
    jax.eval_shape(apply.init, jax.random.key(0), BATCH)


def test_a_folder_of_transformers_cannot_say_reversible(tmp_path):
  module = model()
  params = {n: np.zeros(x.shape, x.dtype) for n, x in shapes(module).items()}
  with pytest.raises(ValueError, match="cannot express stack='reversible'"):
    huggingface.save_hf(tmp_path, module, tree.unflatten(params))


def test_plugs_on_a_whole_block_need_a_variant_that_calls_it():
  plug = Plug(r'encoder/layer_\d+', lambda site, next_fn, *args: next_fn(*args))
  paths = Apply(model(dict(variant='meft1')), (plug,)).touched(BATCH)
  assert len(paths[plug.pattern]) == 2
  with pytest.raises(ValueError, match='has no layer encoder/layer_.d'):
    Apply(model(dict(variant='meft3')), (plug,)).touched(BATCH)
