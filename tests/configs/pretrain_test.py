"""Recipes of pre-training at full size, made of shapes alone."""

import pytest

from configs.pretrain import (
  albert,
  bert,
  drbert,
  e2s2,
  electra,
  mcl,
  roberta,
  simcse,
  spanbert,
)
from glue_jax import tree
from glue_jax.config import config as config_lib
from glue_jax.probes import plan
from glue_jax.training import schema
from tests.configs import files_test

# (file, argument): published millions of parameters.
SIZES = {
  (bert, 'rte'): 110,
  (bert, 'rte,large'): 336,
  (roberta, 'rte'): 125,
  (roberta, 'rte,large'): 355,
  (spanbert, 'rte,large'): 336,
  (electra, 'rte'): 14,
  (electra, 'rte,base'): 110,
  (electra, 'rte,large'): 335,
  (drbert, 'rte'): 110,
  (mcl, 'rte'): 110,
  (mcl, 'rte,small'): 14,
  (albert, 'rte'): 12,
  (albert, 'rte,large'): 18,
  (simcse, 'texts'): 110,
  # Those of the models that it goes on with.
  (e2s2, 'cola'): 406.3,
  (e2s2, 'cola,base'): 139.4,
  (e2s2, 'cola,t5'): 222.9,
}
# Beside the model in training: a generator's own leaves, heads, a decoder.
BESIDE = {
  drbert: {'decoder'},
  e2s2: {'noise_labels'},
  electra: {'generator'},
  mcl: {'generator'},
  spanbert: {'boundary'},
}
# What stands for released weights, where a recipe goes on with them.
RELEASED = {
  (simcse, 'texts'): ('bert', 'base'),
  (e2s2, 'cola'): ('bart', 'large'),
  (e2s2, 'cola,base'): ('bart', 'base'),
  (e2s2, 'cola,t5'): ('t5', 'base'),
}


@pytest.mark.parametrize(
  'file, argument',
  SIZES,
  ids=lambda x: x if isinstance(x, str) else x.__name__.split('.')[-1],
)
def test_the_model_has_its_published_size(file, argument):
  config = files_test.with_weights(config_lib.plain(file.get_config(argument)))
  (first, *_) = schema.check(config).values()
  # No batch of its size: rows don't enter.
  small = dict(data=dict(batch_size=8))
  if (file, argument) in RELEASED:
    name, preset = RELEASED[file, argument]
    small['model'] = dict(weights=None, name=name, preset=preset)
  run = plan.abstract(config_lib.complete(config_lib.override(first, small)))
  params = run.host.state.all_params()
  beside = BESIDE.get(file, set())
  assert beside <= set(params)
  model = {n: x for n, x in params.items() if n not in beside}
  millions = tree.size(model) / 1e6
  # As it is rounded, or within a hundredth.
  published = SIZES[file, argument]
  assert abs(millions - published) <= max(0.5, published / 100), millions
