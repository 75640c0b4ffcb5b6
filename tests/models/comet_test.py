"""Folders of models with experts are read back as they were written."""

import jax
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.models import comet
from glue_jax.models import model as models
from glue_jax.weights import huggingface

GATES = {
  'comet': dict(k=2, gamma=0.5, split_bias=True),
  'topk': dict(k=2, noise=True),
  'dselectk': {},
}


def build(gate, **options):
  experts = dict(experts=3, size=8, gate=gate, gate_options=GATES[gate])
  return models.build(
    'comet', 'tiny', 'classification', 2, vocab_size=30, num_layers=1,
    options={'experts': experts | options},
  )  # fmt: skip


@pytest.mark.parametrize('gate', sorted(GATES))
def test_a_folder_is_read_back(gate, tmp_path):
  model = build(gate, inside=gate != 'topk')
  batch = models.example_batch(model)
  params = model.init(jax.random.key(0), batch)['params']
  huggingface.save_hf(tmp_path, model, params)
  family, config, _ = huggingface.read_hf_config(tmp_path)
  again = models.build(
    family, kind='classification', num_outputs=2, config=config
  )
  assert again == model
  loaded, missing = huggingface.load_hf(tmp_path, again)
  assert not missing
  ours = tree.flatten(params)
  assert ours.keys() == tree.flatten(loaded).keys()
  for name, value in tree.flatten(loaded).items():
    np.testing.assert_array_equal(value, ours[name], err_msg=name)


def test_a_config_without_experts_is_refused():
  with pytest.raises(ValueError, match="lacks 'expert_options'"):
    comet.config_from_hf({'model_type': 'comet'})
