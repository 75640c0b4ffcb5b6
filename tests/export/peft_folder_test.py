"""Folders of `peft`, against the library itself: equal logits both ways."""

import dataclasses
import functools
import json
import types

import jax
import numpy as np
import peft
import pytest
import safetensors.numpy
import torch
import transformers

from glue_jax import config, tree
from glue_jax.export import peft_folder
from glue_jax.export.bundle_folder import Bundle
from glue_jax.models import model as models
from glue_jax.plugs import Apply
from glue_jax.training.compose import add_leaves
from glue_jax.weights import huggingface
from tests.conftest import jit

SIZES = dict(
  vocab_size=41,
  hidden_size=12,
  num_layers=2,
  num_heads=3,
  intermediate_size=20,
  max_positions=24,
  dropout=0.0,
)
OURS = {
  'ia3': dict(form='library'),
  'lora': dict(
    rank=2,
    alpha=3.0,
    targets=['query', 'attn_out', 'ffn_in'],
    tables=['token_type', 'word'],
  ),
  'prefix': dict(length=3, hidden=5),
  'prompt': dict(length=3),
}
ATTENTION = r'bert.encoder.layer.\d+.attention.self'
THEIRS = {
  'ia3': peft.IA3Config(
    task_type='SEQ_CLS',
    target_modules=rf'{ATTENTION}.(key|value)|.*layer.\d+.output.dense',
    feedforward_modules=r'.*layer.\d+.output.dense',
    init_ia3_weights=False,
  ),
  'lora': peft.LoraConfig(
    task_type='SEQ_CLS',
    r=4,
    lora_alpha=7,
    use_rslora=True,
    target_modules=['key', 'value', 'word_embeddings'],
    init_lora_weights=False,
  ),
  'prefix': peft.PrefixTuningConfig(task_type='SEQ_CLS', num_virtual_tokens=2),
  'prompt': peft.PromptTuningConfig(task_type='SEQ_CLS', num_virtual_tokens=2),
}


@pytest.fixture(scope='module')
def model():
  return models.build(
    'bert', 'tiny', kind='classification', num_outputs=3, **SIZES
  )


@pytest.fixture(scope='module')
def plain(model):
  """(Apply, () -> parameters) of the backbone with a head."""

  def init(rng):
    params = model.init(rng, batch())['params']
    return jax.tree.map(lambda x: x * 4 + 0.01, params)

  params = jit(init)(jax.random.key(0))
  return Apply(model), lambda: params


@pytest.fixture
def hf(model, plain, tmp_path):
  """The same backbone in the library."""
  huggingface.save_hf(tmp_path / 'hf', model, plain[1](), Tokenizer())
  return transformers.BertForSequenceClassification.from_pretrained(
    tmp_path / 'hf', attn_implementation='eager'
  ).eval()


class Tokenizer:
  """What the folder needs none of."""

  def save(self, folder):
    pass


def batch():
  rng = np.random.default_rng(0)
  ids = rng.integers(1, 41, (3, 9)).astype(np.int32)
  mask = np.ones_like(ids)
  mask[1, 6:] = 0
  ids[1, 6:] = 0
  types_ = (np.arange(9) > 4).astype(np.int32) * np.ones_like(ids)
  return dict(input_ids=ids, attention_mask=mask, token_type_ids=types_)


def method(name, model, settings):
  make = config.module('methods', name, name).make
  return make(types.SimpleNamespace(model=model), **settings)


@functools.cache
def started(name, plain, settings):
  """(method, names of its leaves, parameters), fresh."""
  apply, params = plain
  made = method(name, apply.model, json.loads(settings))
  rng = jax.random.key(1)
  params, owners = add_leaves(rng, params(), apply, [made], batch())
  return made, owners, tree.flatten(params)


def our_logits(name, plain, settings, leaves):
  """Logits with the method's leaves in place."""
  made, _, flat = started(name, plain, json.dumps(settings))
  assert leaves.keys() <= flat.keys()
  apply = plain[0].replace(plugs=made.plugs)

  def run(flat):
    params = tree.unflatten(flat)
    if made.reparam:
      params = made.reparam(params, 0, None)
    return apply(params, batch())['logits']

  return jit(run)(flat | leaves)


def their_logits(tuned):
  tensors = {k: torch.tensor(v).long() for k, v in batch().items()}
  with torch.no_grad():
    return tuned.eval()(**tensors).logits.numpy()


def make_bundle(name, plain, settings):
  """A bundle as if the method had been trained."""
  made, owners, flat = started(name, plain, json.dumps(settings))
  params = tree.unflatten(flat)
  rng = np.random.default_rng(1)
  labels = tree.flatten(made.labels(params, {}))
  leaves = {
    n: np.asarray(x) + 0.3 * rng.normal(size=x.shape).astype(np.float32)
    for n, x in flat.items()
    if labels[n] == 'train' or n in owners
  }
  record = {
    'backbone': {
      'id': 'tiny',
      'family': 'bert',
      'config': dataclasses.asdict(plain[0].model.config),
    },
    'head': {'kind': 'classification', 'num_outputs': 3},
    'config': {'methods': [[name, settings]]},
  }
  return Bundle(json.loads(json.dumps(record)), leaves)


@pytest.mark.parametrize('name', OURS)
def test_the_library_reads_what_we_write(name, plain, hf, tmp_path):
  bundle = make_bundle(name, plain, OURS[name])
  peft_folder.write(tmp_path, bundle)
  theirs = their_logits(peft.PeftModel.from_pretrained(hf, tmp_path))
  ours = our_logits(name, plain, OURS[name], bundle.leaves)
  np.testing.assert_allclose(ours, theirs, atol=1e-4)
  # It is the tuned model that both have.
  untuned = jit(plain[0])(plain[1](), batch())['logits']
  assert np.abs(ours - untuned).max() > 1e-2


@pytest.mark.parametrize('name', THEIRS)
def test_we_read_what_the_library_writes(name, model, plain, hf, tmp_path):
  torch.manual_seed(0)
  tuned = peft.get_peft_model(hf, THEIRS[name])
  for key, parameter in tuned.named_parameters():
    if parameter.requires_grad:
      parameter.data.add_(0.2 * torch.randn_like(parameter))
    assert parameter.requires_grad or 'default' not in key
  tuned.save_pretrained(tmp_path)
  recognised, settings, leaves = peft_folder.read(tmp_path, model)
  assert recognised == name
  ours = our_logits(name, plain, settings, leaves)
  np.testing.assert_allclose(ours, their_logits(tuned), atol=1e-4)


def test_every_form_is_compared_here():
  assert {*OURS, 'pfeiffer'} == set(peft_folder.peft_types())


@pytest.mark.parametrize('name', [*OURS, 'pfeiffer'])
def test_what_was_written_is_read_again(name, model, plain, tmp_path):
  settings = OURS.get(name, dict(size=2))
  bundle = make_bundle(name, plain, settings)
  peft_folder.write(tmp_path, bundle)
  recognised, again, leaves = peft_folder.read(tmp_path, model)
  assert recognised == name
  ours = our_logits(name, plain, settings, bundle.leaves)
  theirs = our_logits(name, plain, again, leaves)
  np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_pfeiffer_has_the_names_of_the_adapters_library(plain, tmp_path):
  peft_folder.write(tmp_path, make_bundle('pfeiffer', plain, dict(size=2)))
  tensors = safetensors.numpy.load_file(tmp_path / peft_folder.TENSORS)
  home = 'base_model.model.bert.encoder.layer.1.output.adapters.default'
  assert tensors[f'{home}.adapter_down.0.weight'].shape == (2, 12)
  assert tensors[f'{home}.adapter_up.weight'].shape == (12, 2)


@pytest.mark.parametrize(
  'name,settings,message',
  [
    ('prefix', dict(length=3, position_offset=False), 'position_offset=False'),
    ('prompt', dict(length=3, pool='cls'), "pool='cls'"),
    ('houlsby', dict(size=2), "one of .*'ia3'"),
  ],
)
def test_what_the_form_cannot_say(name, settings, message, plain, tmp_path):
  with pytest.raises(ValueError, match=message):
    peft_folder.write(tmp_path, make_bundle(name, plain, settings))
  assert not list(tmp_path.iterdir())


@pytest.fixture
def folder(plain, tmp_path):
  """LoRA as a folder, to be damaged."""
  peft_folder.write(tmp_path, make_bundle('lora', plain, OURS['lora']))
  return tmp_path


@pytest.mark.parametrize(
  'change,message',
  [
    (dict(peft_type='VERA'), "peft_type='VERA'"),
    (dict(use_dora=True), "nothing here does {'use_dora': True}"),
    (dict(rank_pattern={'query': 3}), 'rank_pattern'),
  ],
)
def test_other_configs_are_refused(folder, model, change, message):
  path = folder / peft_folder.CONFIG
  path.write_text(json.dumps(json.loads(path.read_text()) | change))
  with pytest.raises(ValueError, match=message):
    peft_folder.read(folder, model)


@pytest.mark.parametrize(
  'layer,message',
  [('0', 'sits on some layers only'), ('9', 'no place for .*layer.9')],
)
def test_other_tensors_are_refused(folder, model, layer, message):
  path = folder / peft_folder.TENSORS
  tensors = safetensors.numpy.load_file(path)
  for name in [n for n in tensors if 'layer.1.' in n and 'lora' in n]:
    if layer == '9':
      tensors[name.replace('layer.1.', 'layer.9.')] = tensors[name]
    else:
      del tensors[name]
  safetensors.numpy.save_file(tensors, path)
  with pytest.raises(ValueError, match=message):
    peft_folder.read(folder, model)


def test_a_head_of_another_size_is_refused(folder):
  other = models.build(
    'bert', 'tiny', kind='classification', num_outputs=2, **SIZES
  )
  with pytest.raises(ValueError, match=r'\(3,\); the model has \(2,\)'):
    peft_folder.read(folder, other)


def test_no_folder(model, tmp_path):
  with pytest.raises(ValueError, match='holds no whole adapter'):
    peft_folder.read(tmp_path / 'none', model)
