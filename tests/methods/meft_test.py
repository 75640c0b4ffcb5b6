"""The recipe: what it needs of the model, what it logs."""

import types

import jax
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.layers.stacks.reversible import VARIANTS
from glue_jax.methods import meft
from glue_jax.models.model import build
from glue_jax.peft import meft as adapters
from glue_jax.plugs import Apply
from tests.conftest import jit

BATCH = {'input_ids': np.arange(1, 13, dtype=np.int32).reshape(2, 6)}


def context(**changes):
  model = build(
    'bert',
    'tiny',
    **(
      dict(
        kind='classification', num_outputs=2, vocab_size=20, hidden_size=8,
        num_heads=2, intermediate_size=16, max_positions=6, stack='reversible',
      )
      | changes
    ),
  )  # fmt: skip
  return types.SimpleNamespace(model=model)


def test_another_stack_is_refused():
  with pytest.raises(ValueError, match="needs model.stack='reversible'; it is"):
    meft.make(context(stack='plain'))


@pytest.mark.parametrize(
  'arguments,message',
  [
    (dict(place='under'), "place='under'; .*'alone'"),
    (dict(dropout=1.0), r'dropout=1.0; .* in \[0, 1\)'),
    (dict(activation='gelo'), "activation='gelo'; .*'gelu'"),
  ],
)
def test_adapter_arguments_out_of_range(arguments, message):
  good = dict(
    place='alone', size=2, activation='gelu', dropout=0.1, init_range=0.02
  )
  with pytest.raises(ValueError, match=message):
    adapters.plug('.*', **(good | arguments))


@pytest.mark.parametrize('variant', VARIANTS)
def test_leaves_of_bert_base(variant):
  ctx = context(
    hidden_size=768, num_heads=12, options={'reversible': {'variant': variant}}
  )
  apply = Apply(ctx.model, meft.make(ctx).plugs)
  params = jax.eval_shape(apply.init, jax.random.key(0), BATCH)
  learns = tree.partition(params, lambda name: '/adapter_' in name)[0]
  # 2 (2 d m + m + d) a layer, m = 8.
  assert tree.size(learns) == 2 * 26_128


def test_the_reconstruction_error_is_logged_every_few_steps():
  ctx = context()
  method = meft.make(ctx, size=2, measure_every=2)
  apply = Apply(ctx.model, method.plugs, shape=method.shape)
  params = apply.init(jax.random.key(0), BATCH)

  def loss(apply, params, batch, rng):
    value = apply(params, batch, True, rng)['logits'].sum()
    return value, {'loss': (value, 1)}

  wrapped = method.wrap_loss(loss)

  def metrics(step):
    bound = apply.replace(step=step)
    return wrapped(bound, params, BATCH, jax.random.key(1))[1]

  run = jit(metrics)
  value, count = run(4)['reconstruction_error']
  assert count == 1 and 0 < value < 1e-4
  assert run(5)['reconstruction_error'] == (0, 0)
  # Outside training there is nothing to measure.
  assert set(wrapped(apply, params, BATCH, jax.random.key(1))[1]) == {'loss'}


def test_the_ordinary_stack_of_the_same_function_logs_nothing():
  ctx = context(options={'reversible': {'layers': 0}})
  assert meft.make(ctx).wrap_loss is None
