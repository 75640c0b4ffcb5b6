import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.models.model import build

SIZES = dict(
  vocab_size=40,
  hidden_size=16,
  intermediate_size=32,
  num_layers=3,
  max_positions=8,
)
BATCH = {
  'input_ids': np.arange(1, 25, dtype=np.int32).reshape(3, 8),
  'attention_mask': np.array([[1] * 8, [1] * 5 + [0] * 3, [0] * 8], np.int32),
}


def model(stack, **changes):
  return build(
    'bert',
    'tiny',
    **(dict(SIZES, kind='classification', num_outputs=3) | changes),
    stack=stack,
  )


@pytest.mark.parametrize('fused', [True, False])
def test_logits_and_gradients_are_those_of_the_whole_stack(fused):
  options = {'attention': {'fused': fused}}
  plain = model('plain', options=options)
  first = model('first_token', options=options)
  params = plain.init(jax.random.key(0), BATCH)['params']
  spread = jnp.arange(9.0).reshape(3, 3)

  def loss(module, params):
    logits = module.apply({'params': params}, BATCH)['logits']
    return (logits * spread).sum(), logits

  run = jax.jit(jax.value_and_grad(loss, 1, has_aux=True), static_argnums=0)
  (_, theirs), gradients = run(plain, params)
  (_, ours), by_leaf = run(first, params)
  np.testing.assert_allclose(ours, theirs, atol=1e-6)
  by_leaf = tree.flatten(by_leaf)
  for name, value in tree.flatten(gradients).items():
    np.testing.assert_allclose(by_leaf[name], value, atol=1e-5, err_msg=name)


def test_only_one_position_of_the_last_block_is_computed():
  first = model('first_token')
  out = jax.eval_shape(
    lambda b: first.init_with_output(jax.random.key(0), b)[0], BATCH
  )
  shapes = [state.shape for state in out['hidden_states']]
  assert shapes == [(3, 8, 16)] * 3 + [(3, 1, 16)]


def test_heads_that_read_more_are_refused():
  with pytest.raises(ValueError, match="serves the heads .*, not 'span'"):
    model('first_token', kind='span')


@pytest.mark.parametrize(
  ('changes', 'chosen'),
  [
    ({}, 'first_token'),
    ({'kind': 'span'}, 'plain'),
    ({'pooler': 'mean'}, 'plain'),
    ({'mixer': 'fourier'}, 'plain'),
    ({'causal': True}, 'plain'),
  ],
)
def test_a_recipe_may_leave_the_stack_to_what_is_read(changes, chosen):
  assert model('as_read', **changes).config.stack == chosen


def test_mixers_that_cannot_are_refused():
  module = model('first_token', mixer='identity')
  with pytest.raises(ValueError, match="'identity' gave .*3, 8, 16.*3, 1, 16"):
    module.init(jax.random.key(0), BATCH)
