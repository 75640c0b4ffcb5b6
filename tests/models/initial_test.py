"""Leaves drawn one by one are those of the model's own `init`."""

import jax
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.models import initial
from glue_jax.models import model as models
from glue_jax.peft import lora
from glue_jax.plugs import Apply
from tests.conftest import jit

SIZES = dict(vocab_size=20, hidden_size=16, num_layers=2, max_positions=6)
BATCH = {'input_ids': np.arange(1, 13, dtype=np.int32).reshape(2, 6)}


@pytest.mark.parametrize(
  'family, changes',
  [
    ('bert', dict(num_heads=2, intermediate_size=16)),
    ('bert', dict(num_heads=2, intermediate_size=16, remat=True)),
    ('hydra', {}),
  ],
)
def test_the_same_leaves_and_nothing_else(family, changes):
  model = models.build(
    family, 'tiny', kind='classification', num_outputs=2, **SIZES, **changes
  )
  target = 'query' if family == 'bert' else 'in_proj'
  plugs = lora.plugs((target,), 2, 1.0)
  apply, key = Apply(model, plugs), jax.random.key(3)
  whole = tree.flatten(jit(apply.init)(key, BATCH))
  traced = initial.trace(apply.init, key, BATCH)
  assert {n: x.shape for n, x in traced.shapes.items()} == {
    n: x.shape for n, x in whole.items()
  }
  for names in (set(whole), {n for n in whole if n.endswith('lora_a')}):
    leaves = traced.draw(names)
    assert leaves.keys() == names
    for name, value in leaves.items():
      np.testing.assert_allclose(value, whole[name], rtol=1e-6, err_msg=name)


def test_what_only_other_leaves_need_is_not_computed():
  def fail(x):
    raise ArithmeticError('computed')

  def init(rng, batch):
    shape = jax.ShapeDtypeStruct((), np.float32)
    other = jax.pure_callback(fail, shape, batch['x'])
    return {'one': jax.random.normal(rng, (2,)), 'other': other}

  key, batch = jax.random.key(0), {'x': np.float32(1)}
  traced = initial.trace(init, key, batch)
  (one,) = traced.draw({'one'}).values()
  np.testing.assert_array_equal(one, jax.random.normal(key, (2,)))
  with pytest.raises(Exception, match='computed'):
    traced.draw({'other'})
