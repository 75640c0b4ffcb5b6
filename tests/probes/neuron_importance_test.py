"""Importance of a finished run's neurons: over whole splits or a part."""

import numpy as np

from glue_jax.probes import neuron_importance
from glue_jax.training import runs
from tests.conftest import tiny_config


def test_it_sums_over_examples_whatever_the_limit(tmp_path):
  config = tiny_config()
  runs.run(config, tmp_path)
  whole, count = neuron_importance.of_run(tmp_path, 'validation')
  part, few = neuron_importance.of_run(tmp_path, 'validation', limit=5)
  assert few == 5 < count
  assert part.keys() == whole.keys() == {'layer_0', 'layer_1'}
  for name, values in whole.items():
    assert values.shape == (32,)
    assert (values >= 0).all() and values.sum() > 0
    assert part[name].sum() < values.sum()
    assert np.isfinite(part[name]).all()
