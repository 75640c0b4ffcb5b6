"""DoRA against peft's own layer: outputs, gradients, and the merged weight."""

import jax
import jax.numpy as jnp
import numpy as np
import peft
import pytest
import torch

from glue_jax import tree
from glue_jax.compress import nf4
from glue_jax.peft import dora
from glue_jax.plugs import Apply
from tests.peft import linear

RANK, FACTOR, WIDTHS = 2, 1.5, (6, 5)
PLUG = dora.plug(linear.SITE, RANK, FACTOR)
APPLY = linear.apply(PLUG, WIDTHS[1])
X = {'x': np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)}


@pytest.fixture(scope='module')
def started():
  """The layer's tree as it begins."""
  params = APPLY.init(jax.random.key(0), X)
  return dora.start(params)


@pytest.fixture(scope='module')
def moved(started):
  """The same after some training."""
  flat = tree.flatten(started)
  keys = dict(zip(sorted(flat), jax.random.split(jax.random.key(1), 9)))
  return tree.unflatten(
    {n: x + 0.4 * jax.random.normal(keys[n], x.shape) for n, x in flat.items()}
  )


def test_it_begins_as_the_plain_layer(started):
  plain = APPLY.replace(plugs=())
  layer = tree.flatten(started)
  kernel = layer[f'{linear.SITE}/kernel']
  magnitude = layer[f'{linear.SITE}/{dora.LEAF}']
  np.testing.assert_allclose(magnitude, np.linalg.norm(kernel, axis=0), 1e-6)
  ours, theirs = APPLY(started, X), plain(started, X)
  np.testing.assert_allclose(ours['y'], theirs['y'], atol=1e-6)


def test_outputs_and_gradients_are_those_of_peft(moved):
  flat = {n.rpartition('/')[2]: x for n, x in tree.flatten(moved).items()}
  base = torch.nn.ModuleDict({'layer': torch.nn.Linear(*WIDTHS)})
  settings = dict(r=RANK, lora_alpha=FACTOR * RANK, use_dora=True)
  config = peft.LoraConfig(target_modules=['layer'], **settings)
  layer = peft.inject_adapter_in_model(config, base)['layer']
  theirs = {
    'kernel': layer.base_layer.weight,
    'bias': layer.base_layer.bias,
    'lora_a': layer.lora_A['default'].weight,
    'lora_b': layer.lora_B['default'].weight,
    dora.LEAF: layer.lora_magnitude_vector['default'].weight,
  }
  for name, parameter in theirs.items():
    parameter.data = torch.tensor(np.asarray(flat[name]).T.copy())
  y = layer(torch.tensor(X['x']))
  y.square().sum().backward()

  def loss(params):
    y = APPLY(params, X)['y']
    return jnp.square(y).sum(), y

  grads, ours = jax.grad(loss, has_aux=True)(moved)
  np.testing.assert_allclose(ours, y.detach().numpy(), atol=1e-5)
  for name, grad in tree.flatten(grads).items():
    leaf = name.rpartition('/')[2]
    if leaf.startswith('lora_'):
      expected = theirs[leaf].grad.numpy().T
      np.testing.assert_allclose(grad, expected, rtol=1e-4, atol=1e-5)


def test_merged_is_the_same_layer(moved):
  merged = dora.merge(moved, FACTOR)
  assert set(merged['layer']) == {'kernel', 'bias'}
  ours = APPLY.replace(plugs=())(merged, X)['y']
  np.testing.assert_allclose(ours, APPLY(moved, X)['y'], atol=1e-5)


def test_a_packed_layer_is_refused():
  packed: Apply = APPLY.replace(plugs=(nf4.plug(linear.SITE), PLUG))
  with pytest.raises(ValueError, match='DoRA needs the norms of layer'):
    jax.eval_shape(packed.init, jax.random.key(0), X)
