"""Hydra as a whole: export folders, and one result on 8 devices."""

import jax
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.layers.spec import freeze
from glue_jax.models import model as models
from glue_jax.weights import huggingface
from tests.conftest import jit, run_on_devices

OPTIONS = freeze(
  {'hydra': {'state_size': 6, 'head_dim': 8, 'learn_initial_state': True}}
)


def build(kind='mlm', **changes):
  sizes = dict(vocab_size=19, hidden_size=8, num_layers=2, dropout=0.0)
  return models.build(
    'hydra', 'tiny', kind=kind, num_outputs=3, options=OPTIONS,
    **sizes | changes,
  )  # fmt: skip


def initial(model):
  batch = models.example_batch(model)
  init = jit(lambda: model.init(jax.random.key(0), batch))
  params = init()['params']
  rng = np.random.default_rng(0)

  def noise(y):
    return np.asarray(y + 0.1 * rng.normal(size=y.shape), np.float32)

  return jax.tree.map(noise, params)


@pytest.mark.parametrize(
  'kind', ['mlm', 'classification', 'sentence_structure']
)
def test_an_exported_folder_is_read_back(kind, tmp_path):
  model = build(kind)
  params = initial(model)
  huggingface.save_hf(tmp_path, model, params)
  family, config, _ = huggingface.read_hf_config(tmp_path)
  again = models.build(family, kind=kind, num_outputs=3, config=config)
  assert again.config == model.config
  back, missing = huggingface.load_hf(tmp_path, again)
  assert missing == []
  ours, theirs = tree.flatten(params), tree.flatten(back)
  assert ours.keys() == theirs.keys()
  for name, value in ours.items():
    np.testing.assert_array_equal(theirs[name], value, err_msg=name)


def test_a_folder_has_the_official_names(tmp_path):
  model = build()
  huggingface.save_hf(tmp_path, model, initial(model))
  import safetensors.numpy

  tensors = safetensors.numpy.load_file(tmp_path / 'model.safetensors')
  start = 'bert.encoder.layer.1.layer.'
  shapes = {n: tensors[start + n].shape for n in (
    'mixer.in_proj.weight', 'mixer.conv1d.weight', 'mixer.dt_bias',
    'mixer.init_states', 'mixer.fc_D.weight', 'norm.weight',
  )}  # fmt: skip
  assert shapes == {
    'mixer.in_proj.weight': (2 * 16 + 4 * 6 + 2 * 2, 8),
    'mixer.conv1d.weight': (16 + 4 * 6, 1, 7),
    'mixer.dt_bias': (2,),
    'mixer.init_states': (2, 8, 6),
    'mixer.fc_D.weight': (2, 16),
    'norm.weight': (8,),
  }
  assert 'cls.predictions.decoder.bias' in tensors


def test_the_published_model_has_its_number_of_parameters():
  base = models.build('hydra', 'base', kind='mlm')
  count = sum(np.prod(leaf.shape) for leaf in models.shapes(base).values())
  assert round(count / 1e6) == 112


def test_without_a_position_table_any_length_runs():
  model = build('encoder')
  params = initial(model)
  ids = np.ones((1, 700), np.int32)
  run = jit(lambda: model.apply({'params': params}, {'input_ids': ids}))
  last = run()['last_hidden']
  assert last.shape == (1, 700, 8)
  model.config.check_lengths((128, 700))


SHARDED = """
import jax, numpy as np
from glue_jax.devices import sharding
from glue_jax.models import stack
from tests.models import hydra_test

model = hydra_test.build(hidden_size=16)
params = hydra_test.initial(model)
ids = np.random.default_rng(1).integers(0, 19, (8, 13)).astype(np.int32)
weight = np.random.default_rng(2).normal(size=(8, 13, 19)).astype(np.float32)

def loss(params, batch):
  logits = model.apply({'params': params}, batch)['logits']
  return (logits * weight).sum()

grad = jax.grad(loss)
whole = jax.jit(grad)(params, {'input_ids': ids})
mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
with sharding.enter(mesh):
  specs = sharding.param_specs(params, stack.RULES, mesh)
  placed = sharding.put(params, specs)
  split = placed['encoder']['layer_0']['mixer']['out_proj']['kernel']
  assert tuple(split.sharding.spec) == ('tensor', 'fsdp'), split.sharding
  batch = sharding.put_batch({'input_ids': ids}, mesh)
  parts = jax.jit(grad)(placed, batch)
for ours, theirs in zip(jax.tree.leaves(parts), jax.tree.leaves(whole)):
  scale = np.abs(theirs).max() + 1e-3
  np.testing.assert_allclose(np.asarray(ours), theirs, atol=1e-4 * scale)
print('equal on', len(jax.devices()))
"""


def test_eight_devices_give_the_gradient_of_one():
  assert run_on_devices(SHARDED).strip() == 'equal on 8'
