"""Prefix and prompt tuning on a tiny encoder: masks, positions, pooling."""

import dataclasses
import types

import jax
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.methods import prefix as prefix_method
from glue_jax.methods import prompt as prompt_method
from glue_jax.models import model as models
from glue_jax.peft import prefix, prompt
from glue_jax.plugs import Apply
from glue_jax.training.compose import add_leaves
from tests.conftest import jit

P = 3
SIZES = dict(
  vocab_size=30, hidden_size=8, num_layers=2, num_heads=2, max_positions=12,
  intermediate_size=12,
)  # fmt: skip
IDS = np.array([[5, 6, 7, 8, 9], [5, 6, 7, 0, 0]], np.int32)
BATCH = {'input_ids': IDS, 'attention_mask': (IDS != 0).astype(np.int32)}


def make(method, kind='classification', compiler=jit, **settings):
  """(Apply with the method, its parameters, the method)."""
  stack = settings.pop('stack', 'plain')
  model = models.build(
    'bert', 'tiny', kind=kind, num_outputs=2, stack=stack, **SIZES
  )
  made = method.make(types.SimpleNamespace(model=model), **settings)
  params = compiler(model.init)(jax.random.key(0), BATCH)['params']
  params = jax.tree.map(lambda x: 5 * x + 0.01, params)
  params, _ = add_leaves(jax.random.key(1), params, Apply(model), [made], BATCH)
  return Apply(model, made.plugs), params, made


@pytest.fixture(scope='module')
def prefixed():
  return make(prefix_method, length=P, dropout=0.5)


@pytest.fixture(scope='module')
def prompted():
  return make(prompt_method, length=P, pool='cls', init='vocabulary')


def test_padding_is_still_masked(prefixed, prompted):
  for apply, params, _ in (prefixed, prompted):
    run = jit(
      lambda ids, apply=apply, params=params: apply(
        params, dict(BATCH, input_ids=ids)
      )['logits']
    )
    other = np.where(IDS == 0, 11, IDS)
    np.testing.assert_allclose(run(IDS)[1], run(other)[1], atol=1e-6)


def test_prefixes_are_attended_to(prefixed):
  apply, params, _ = prefixed
  run = jit(lambda params: apply(params, BATCH)['logits'])
  moved = tree.map_named(
    lambda n, x: x + 1 if n.endswith('/prefix_value') else x, params
  )
  assert np.abs(run(moved) - run(params)).min() > 1e-4


def test_prefix_dropout_is_for_training_only(prefixed):
  apply, params, _ = prefixed
  config = dataclasses.replace(
    apply.model.config, dropout=0.0, attention_dropout=0.0
  )
  still = apply.replace(model=apply.model.clone(config=config))
  train = jit(lambda rng: still(params, BATCH, True, rng)['logits'])
  a, b = (np.asarray(train(jax.random.key(i))) for i in (0, 1))
  assert not np.array_equal(a, b)


def test_table_and_place_are_inverse(prefixed):
  _, params, _ = prefixed
  table = prefix.table(params)
  assert table.shape == (P, 2 * 2 * 8)
  found = tree.flatten(prefix.place(params, table))
  for name, value in tree.flatten(params).items():
    np.testing.assert_array_equal(found[name], value)
  # K0 V0 K1 V1.
  first = tree.flatten(params)['encoder/layer_0/mixer/core/prefix_value']
  np.testing.assert_array_equal(table[:, 8:16], first)


def test_reparameterisation_fills_the_layers_and_goes_at_export():
  _, params, made = make(prefix_method, length=P, hidden=4)
  flat = tree.flatten(params)
  again = tree.flatten(made.reparam(params, 0, None))
  inner = np.tanh(
    flat['encoder/prefix/embedding'] @ flat['encoder/prefix/hidden/kernel']
    + flat['encoder/prefix/hidden/bias']
  )
  table = inner @ flat['encoder/prefix/out/kernel']
  table += flat['encoder/prefix/out/bias']
  np.testing.assert_allclose(
    again['encoder/layer_1/mixer/core/prefix_key'], table[:, 16:24], atol=1e-6
  )
  learns = made.learns(flat, {})
  assert all(n.startswith(('encoder/prefix/', 'head/')) for n in learns)
  exported = tree.flatten(made.export(tree.unflatten(again)))
  assert not any(n.startswith('encoder/prefix/') for n in exported)


def shapes(method, **settings):
  """What `make` gives, without any computation."""
  plain = lambda fn: fn
  return jax.eval_shape(lambda: make(method, compiler=plain, **settings)[1])


def test_positions_must_suffice():
  shapes(prefix_method, length=7)  # and 5 tokens = 12 positions
  shapes(prompt_method, length=7)
  shapes(prefix_method, length=8, position_offset=False)
  for method, name in ((prefix_method, 'prefix'), (prompt_method, 'prompt')):
    message = f'{name} length=8 and inputs of length 5 exceed the 12 positions'
    with pytest.raises(ValueError, match=message):
      shapes(method, length=8)


def test_roberta_keeps_the_position_of_padding():
  table = types.SimpleNamespace(pad_id=1, rows=20)
  site = types.SimpleNamespace(module=table)
  moved = prefix.positions(P).fn(site, lambda x: x, np.array([[2, 3, 1, 1]]))
  np.testing.assert_array_equal(moved, [[5, 6, 1, 1]])


def test_cls_gives_back_the_tokens(prompted):
  apply, params, _ = prompted
  outputs = jit(lambda params: apply(params, BATCH))(params)
  assert outputs['last_hidden'].shape == (2, 5, 8)
  assert {x.shape for x in outputs['hidden_states']} == {(2, 5, 8)}


def test_prompt_starts_from_words(prompted):
  flat = tree.flatten(prompted[1])
  table = np.asarray(flat['encoder/embeddings/word/embedding'])
  for row in np.asarray(flat[prompt.leaf('encoder')]):
    assert (table == row).all(1).any()


@pytest.mark.parametrize(
  'method,settings,message',
  [
    (prefix_method, dict(length=0), 'prefix.plug: length=0'),
    (prefix_method, dict(dropout=1.0), 'prefix.plug: dropout=1.0'),
    (prompt_method, dict(length=0), 'prompt.inputs: length=0'),
    (prompt_method, dict(pool='mean'), "pool='mean'"),
    (
      prompt_method,
      dict(kind='token_classification', pool='first'),
      "give pool='cls'",
    ),
    (
      prompt_method,
      dict(length=P, pool='cls', stack='first_token'),
      "give model.stack='plain'",
    ),
  ],
)
def test_settings_that_make_no_sense(method, settings, message):
  with pytest.raises(ValueError, match=message):
    shapes(method, **settings)
