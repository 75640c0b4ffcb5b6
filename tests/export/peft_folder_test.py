"""Folders of `peft` that we write: the library's logits are ours."""

import dataclasses
import json

import numpy as np
import peft
import pytest
import safetensors.numpy

from glue_jax.export import bundle, peft_folder
from glue_jax.weights import peft_folder as reader
from glue_jax.weights.bundle_folder import Bundle
from tests import peft_models
from tests.export.bundle_test import opened, save_backbone

# {case: (method, settings)}.
OURS = {
  'ia3': ('ia3', dict(form='library')),
  'lora': (
    'lora',
    dict(
      rank=2,
      alpha=3.0,
      targets=['query', 'attn_out', 'ffn_in'],
      tables=['token_type', 'word'],
      also=['encoder/embeddings/position/.*', 'pooler/dense/.*'],
    ),
  ),
  'lora by layer': (
    'lora',
    dict(
      rank=2,
      targets=['query', 'value'],
      layers=[1],
      rank_pattern={'value': 3},
      alpha_pattern={'layer_1/.*query': 5.0},
      rank_stabilised=True,
      also=['encoder/layer_1/mixer/(query|value)/bias'],
    ),
  ),
  'dora': (
    'lora',
    dict(rank=2, targets='all-linear', dora=True, also=['.*/bias']),
  ),
  'prefix': ('prefix', dict(length=3, hidden=5)),
  'prompt': ('prompt', dict(length=3)),
}
PFEIFFER = ('pfeiffer', dict(size=2))


@pytest.fixture(scope='module')
def home(tmp_path_factory):
  folder = tmp_path_factory.mktemp('backbone')
  peft_models.save(folder)
  return folder


def make_bundle(name, settings):
  """A bundle as if the method had been trained."""
  made, owners, flat = peft_models.started(name, settings)
  rng = np.random.default_rng(1)
  learns = made.learns(flat, {})
  leaves = {
    n: np.asarray(x) + 0.3 * rng.normal(size=x.shape).astype(np.float32)
    for n, x in flat.items()
    if n in learns or n in owners
  }
  model = peft_models.build()
  record = {
    'backbone': {
      'id': 'tiny',
      'family': 'bert',
      'config': dataclasses.asdict(model.config),
    },
    'head': {'kind': 'classification', 'num_outputs': 3},
    'config': {'model': {}, 'methods': [[name, settings]]},
  }
  return Bundle(json.loads(json.dumps(record)), leaves)


@pytest.mark.parametrize('case', OURS)
def test_the_library_reads_what_we_write_and_so_do_we(case, home, tmp_path):
  name, settings = OURS[case]
  made = make_bundle(name, settings)
  peft_folder.write(tmp_path, made)
  loaded = peft.PeftModel.from_pretrained(peft_models.load(home), tmp_path)
  theirs = peft_models.their_logits(loaded)
  ours = peft_models.our_logits(name, settings, made.leaves)
  np.testing.assert_allclose(ours, theirs, atol=1e-4)
  # It is the tuned model that both have.
  untuned = peft_models.plain_logits()(peft_models.plain()[1])
  assert np.abs(ours - untuned).max() > 1e-2
  recognised, again, leaves = reader.read(tmp_path, peft_models.build())
  assert recognised == name
  if name in ('ia3', 'lora'):
    merged = peft_models.merged_logits(name, again, leaves)
    np.testing.assert_allclose(merged, ours, atol=1e-5)
    assert leaves.keys() == made.leaves.keys()
  else:
    found = peft_models.our_logits(name, again, leaves)
    np.testing.assert_allclose(found, ours, atol=1e-6)


def test_every_form_is_compared_here():
  names = {name for name, _ in [*OURS.values(), PFEIFFER]}
  assert names == set(reader.peft_types())


def test_pfeiffer_has_the_names_of_the_adapters_library(tmp_path):
  made = make_bundle(*PFEIFFER)
  peft_folder.write(tmp_path, made)
  tensors = safetensors.numpy.load_file(tmp_path / reader.TENSORS)
  home = 'base_model.model.bert.encoder.layer.1.output.adapters.default'
  assert tensors[f'{home}.adapter_down.0.weight'].shape == (2, 12)
  assert tensors[f'{home}.adapter_up.weight'].shape == (12, 2)
  name, _, leaves = reader.read(tmp_path, peft_models.build())
  assert name == 'pfeiffer' and leaves.keys() == made.leaves.keys()
  for leaf, value in leaves.items():
    np.testing.assert_array_equal(value, made.leaves[leaf])


@pytest.mark.parametrize(
  'name,settings,message',
  [
    ('prefix', dict(length=3, position_offset=False), 'position_offset=False'),
    ('prompt', dict(length=3, pool='cls'), "pool='cls'"),
    ('houlsby', dict(size=2), "one of .*'ia3'"),
    (
      'lora',
      dict(rank=2, also=['.*/ffn_in/bias']),
      'those beside the factors; .*ffn_in/bias',
    ),
    (
      'lora',
      dict(rank=2, also=['.*/ffn_in/kernel']),
      'no place for encoder/layer_./ffn/ffn_in/kernel',
    ),
  ],
)
def test_what_the_form_cannot_say(name, settings, message, tmp_path):
  with pytest.raises(ValueError, match=message):
    peft_folder.write(tmp_path, make_bundle(name, settings))
  assert not list(tmp_path.iterdir())


def test_a_folder_without_a_head_is_no_bundle(tmp_path):
  backbone = save_backbone(tmp_path / 'backbone', 7)
  run = opened(backbone, (('lora', dict(rank=2)),))
  peft_folder.write(tmp_path / 'peft', bundle.write(run, tmp_path / 'bundle'))
  path = tmp_path / 'peft' / reader.TENSORS
  tensors = safetensors.numpy.load_file(path)
  headless = {n: x for n, x in tensors.items() if 'classifier' not in n}
  assert len(headless) < len(tensors)
  safetensors.numpy.save_file(headless, path)
  task, out = {'name': 'mini_acceptability'}, tmp_path / 'out'
  with pytest.raises(ValueError, match=r"lack \['head/out/bias', 'head/out/k"):
    peft_folder.to_bundle(
      tmp_path / 'peft', str(backbone), task, out, max_length=16
    )
