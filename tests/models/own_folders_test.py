"""Families of which `transformers` has no class: folders that we read back."""

import json

import numpy as np
import pytest

from glue_jax import tree
from glue_jax.models import model as models
from glue_jax.weights import huggingface
from tests.models.model_test import forward, make, make_batch, start

FAMILIES = ('ponet',)


@pytest.mark.parametrize('kind', ['classification', 'mlm'])
@pytest.mark.parametrize('name', FAMILIES)
def test_a_folder_gives_back_sizes_and_weights(name, kind, tmp_path):
  model = make(name, kind)
  params = start(model)
  huggingface.save_hf(tmp_path, model, params)
  record = json.loads((tmp_path / 'config.json').read_text())
  assert record['model_type'] == name
  family, config, _ = huggingface.read_hf_config(tmp_path)
  assert family == name
  again = models.build(
    family, config=config, kind=kind, num_outputs=model.num_outputs
  )
  loaded, _ = huggingface.load_hf(tmp_path, again)
  flat = tree.flatten(loaded)
  for leaf, value in tree.flatten(params).items():
    np.testing.assert_array_equal(flat[leaf], value, err_msg=leaf)
  batch = make_batch(model)
  np.testing.assert_array_equal(
    forward(again, loaded, batch)['logits'],
    forward(model, params, batch)['logits'],
  )


def test_a_pre_training_folder_gives_its_masked_language_model(tmp_path):
  whole, part = (make('ponet', kind) for kind in ('sentence_structure', 'mlm'))
  params = start(whole)
  huggingface.save_hf(tmp_path, whole, params)
  loaded, missing = huggingface.load_hf(tmp_path, part)
  assert missing == []
  flat = tree.flatten(params)
  for leaf, value in tree.flatten(loaded).items():
    np.testing.assert_array_equal(value, flat[leaf], err_msg=leaf)
