"""Adapters and (IA)3: sizes, fresh values, a submodule that is called twice."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.peft import adapter, ia3
from glue_jax.plugs import Apply, Plug


class Halved(nn.Module):
  """A linear layer whose result is halved."""

  @nn.compact
  def __call__(self, batch, train):
    del train
    return {'y': nn.Dense(3, name='dense')(batch['x']) / 2}


BATCH = {'x': np.arange(6, dtype=np.float32).reshape(2, 3)}


def test_a_plug_may_call_its_module_twice():
  twice = Plug('dense', lambda site, next_fn, x: next_fn(next_fn(x)))
  params = Apply(Halved(), (twice,)).init(jax.random.key(0), BATCH)
  assert set(tree.flatten(params)) == {'dense/kernel', 'dense/bias'}
  # Also through the plug of another method, which has leaves of its own.
  apply = Apply(Halved(), (ia3.output_plug('dense'), twice))
  params = apply.init(jax.random.key(0), BATCH)
  params['dense']['ia3_scale'] = np.float32([1, 2, 3])
  once = lambda x: x @ params['dense']['kernel'] * params['dense']['ia3_scale']
  expected = once(once(BATCH['x'])) / 2
  np.testing.assert_allclose(apply(params, BATCH)['y'], expected, rtol=1e-5)


def test_merged_vectors_are_the_same_model():
  plugs = (ia3.output_plug('dense'), ia3.input_plug('dense'))
  for plug, pattern in zip(plugs, ('none', 'dense')):
    apply = Apply(Halved(), (plug,))
    params = apply.init(jax.random.key(0), BATCH)
    params['dense']['ia3_scale'] = np.float32([1, 2, 3])
    params['dense']['bias'] = np.float32([3, 1, 2])
    merged = ia3.merge(params, pattern)
    assert set(merged['dense']) == {'kernel', 'bias'}
    np.testing.assert_allclose(
      Apply(Halved())(merged, BATCH)['y'], apply(params, BATCH)['y'], rtol=1e-5
    )


def test_sizes():
  assert adapter.bottleneck_size(768, 16) == 48
  assert adapter.bottleneck_size(768, 16, 5) == 5
  with pytest.raises(ValueError, match='reduction=769: expected 1 to'):
    adapter.bottleneck_size(768, 769)
  with pytest.raises(ValueError, match='size=-1; expected an integer of 1'):
    adapter.pfeiffer_plug('x', -1, 'relu', 0.02)
  with pytest.raises(ValueError, match="activation='cube'; .*'gelu'"):
    adapter.parallel_plug('x', 4, 'cube', 4.0)
