"""Which leaves learn when only the last layers do."""

import types

import pytest

from glue_jax.methods import last_layers

LEAVES = (
  *('encoder/word/embedding', 'encoder/ln/scale'),
  *(f'encoder/layer_{i}/ffn_in/kernel' for i in range(3)),
  *('pooler/dense/kernel', 'head/out/kernel'),
)


def context(layers=3):
  config = types.SimpleNamespace(num_layers=layers)
  return types.SimpleNamespace(model=types.SimpleNamespace(config=config))


def learning(count):
  method = last_layers.make(context(), count=count)
  return method.learns(LEAVES, {}) if method.learns else set(LEAVES)


@pytest.mark.parametrize('count', [0, 1, 2, 3])
def test_the_head_the_pooler_and_the_last_blocks_learn(count):
  blocks = {f'encoder/layer_{i}/ffn_in/kernel' for i in range(3 - count, 3)}
  expected = {'pooler/dense/kernel', 'head/out/kernel'} | blocks
  assert learning(count) == expected


def test_minus_one_is_everything():
  assert learning(-1) == set(LEAVES)


def test_a_count_beyond_the_model_is_refused():
  with pytest.raises(ValueError, match='count=4: the model has 3 layers'):
    last_layers.make(context(), count=4)
