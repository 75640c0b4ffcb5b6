"""The plugs in a model: what is kept for the backward pass, and refusals."""

import jax
import jax.numpy as jnp
import pytest

from glue_jax import tree
from glue_jax.compress import saved_activation_plugs
from glue_jax.models import model as models
from glue_jax.optim import layer_schedule
from glue_jax.plugs import Apply
from launch.benchmarks import slimfit

BATCH = {
  name: jax.ShapeDtypeStruct((16, 64), jnp.int32)
  for name in ('input_ids', 'attention_mask', 'token_type_ids')
} | {'labels': jax.ShapeDtypeStruct((16,), jnp.int32)}


def kept(parts, frozen, module):
  """Bytes that the backward pass keeps."""
  apply = Apply(
    module, saved_activation_plugs.plugs(parts, module.config, True)
  )
  params = tree.unflatten(models.shapes(module))
  learning, rest = tree.partition(params, lambda name: name not in frozen)
  key = jax.eval_shape(lambda: jax.random.key(0))
  found = slimfit.residuals(apply, learning, rest, BATCH, key)
  return sum(x.size * x.dtype.itemsize for x in found)


def test_each_part_and_freezing_keep_less():
  module = models.build('bert', 'tiny', kind='classification', num_outputs=2)
  names = layer_schedule.layers(models.shapes(module))
  full, frozen = kept((), (), module), kept((), names, module)
  assert frozen < 0.75 * full
  before = frozen
  for count in range(1, 5):
    parts = tuple(saved_activation_plugs.SITES)[:count]
    now = kept(parts, names, module)
    # The input of the second dense layer isn't kept while it is frozen.
    assert now < before if parts[-1] != 'ffn_out' else now == before
    before = now
  assert before < full / 6


def test_a_model_without_the_sites_is_refused():
  module = models.build('fnet', 'tiny', kind='classification', num_outputs=2)
  plugs = saved_activation_plugs.plugs(('attention',), module.config)
  with pytest.raises(ValueError, match='the model has no layer'):
    Apply(module, plugs).touched(BATCH)


def test_a_part_twice_is_refused():
  config = models.build('bert', 'tiny').config
  with pytest.raises(ValueError, match='each once'):
    saved_activation_plugs.plugs(('norm', 'norm'), config)
