"""Norms of a config's model, and the densities of a finished run."""

import numpy as np
import pytest

from glue_jax.probes import activation_density, input_norms
from glue_jax.training import begin, runs, schema
from tests.conftest import tiny_config


def test_norms_are_those_of_the_real_tokens():
  config = tiny_config(
    model=dict(dropout=0.0), methods=(('lora', dict(rank=2)),)
  )
  norms, count = input_norms.of_config(config, examples=20)
  assert count == 20 and len(norms) == 12
  parts = begin.build(schema.bind(tiny_config(model=dict(dropout=0.0)), 1), 0)
  total, tokens = 0.0, 0
  for step, rows in ((0, 16), (1, 4)):
    batch = parts.bundle.train.batch(step)
    x = parts.plain(parts.params, batch)['hidden_states'][1]
    real = batch['attention_mask'].astype(bool)
    real[rows:] = False
    total += np.square(np.asarray(x)[real]).sum(0)
    tokens += real.sum()
  np.testing.assert_allclose(
    norms['encoder/layer_1/mixer/query'], np.sqrt(total / tokens), rtol=1e-4
  )


def test_what_cannot_be_calibrated_is_refused():
  with pytest.raises(ValueError, match='stages'):
    input_norms.of_config(tiny_config(stages=(('one', {}),)))
  with pytest.raises(ValueError, match='examples=0'):
    input_norms.of_config(tiny_config(), examples=0)


def test_density_of_a_run_with_and_without_the_loss(tmp_path):
  densities = {}
  for weight in (0.0, 30.0):
    config = tiny_config(
      model=dict(activation='relu', num_layers=1),
      methods=(('lora', dict(rank=4)), ('deft', dict(weight=weight))),
    )
    workdir = tmp_path / f'{weight:g}'
    runs.run(config, workdir)
    densities[weight] = activation_density.of_run(workdir)
  assert densities[0.0]['examples'] == densities[30.0]['examples'] > 32
  assert densities[30.0]['density'] < densities[0.0]['density']
  layers = densities[0.0]['layers']
  assert list(layers) == ['layer_0']
  assert layers['layer_0'] == pytest.approx(densities[0.0]['density'])
  assert 0 < densities[0.0]['density_real'] < 1
  with pytest.raises(ValueError):
    activation_density.of_run(tmp_path / '0', split='nothing')
