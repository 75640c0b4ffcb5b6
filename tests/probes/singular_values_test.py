"""Singular values read from a saved model."""

import jax
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.models import model as models
from glue_jax.probes import singular_values
from glue_jax.weights import saved_model
from tests.conftest import jit


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
  module = models.build(
    'bert', 'tiny', kind='classification', num_outputs=3, num_layers=1,
    hidden_size=8, num_heads=2, intermediate_size=12, vocab_size=20,
    max_positions=4,
  )  # fmt: skip
  batch = models.example_batch(module)
  params = jit(module.init)(jax.random.key(0), batch)['params']
  folder = tmp_path_factory.mktemp('saved')
  saved_model.save(folder, module, params)
  return folder, tree.flatten(params)


def test_the_values_are_those_of_the_kernels(saved):
  folder, flat = saved
  values = singular_values.of_weights(
    folder, r'encoder/layer_\d+/.*(query|ffn_in)'
  )
  names = ['encoder/layer_0/ffn/ffn_in', 'encoder/layer_0/mixer/query']
  assert list(values) == names
  for name, sigma in values.items():
    expected = np.linalg.svd(flat[f'{name}/kernel'], compute_uv=False)
    np.testing.assert_allclose(sigma, expected, rtol=1e-4, atol=1e-6)


def test_a_pattern_that_matches_nothing(saved):
  with pytest.raises(ValueError, match=r'matches none of these names'):
    singular_values.of_weights(saved[0], 'encoder/layer_9/.*')
