"""Other mixers in a folder's encoder, held to it: the shipped stage, small."""

import json

import numpy as np
import pytest

from configs.distill import mixers
from glue_jax import tree
from glue_jax.config import config as config_lib
from glue_jax.training import begin, runs
from glue_jax.weights import saved_model
from tests import hf_folders

WORDS = [f'w{i}' for i in range(20)]


@pytest.fixture
def places(tmp_path, monkeypatch):
  """A folder of weights with its tokenizer, and a corpus of its words."""
  weights = tmp_path / 'hf'
  hf_folders.save(hf_folders.theirs('bert', 'encoder'), weights)
  special = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', '.']
  (weights / 'vocab.txt').write_text('\n'.join(special + WORDS) + '\n')
  rng = np.random.default_rng(0)
  for split in ('train', 'valid'):
    (tmp_path / split).mkdir()
    lines = [' '.join(rng.choice(WORDS, 8)) + ' .' for _ in range(40)]
    (tmp_path / split / 'a.txt').write_text('\n'.join(lines))
  monkeypatch.setenv('GLUE_JAX_CORPUS', str(tmp_path))
  monkeypatch.setenv('GLUE_JAX_WEIGHTS', str(weights))
  return tmp_path


def test_ponet_comes_nearer_to_the_encoder_it_was_put_into(places):
  changes = dict(
    data=dict(max_length=12, buckets=(12,), eval_batch_size=16, cache_dir=''),
    optimizer=dict(lr=1e-2),
    train=dict(steps=24, eval_every=12, save_every=12, log_every=24),
  )
  config = config_lib.override(mixers.distilled('ponet'), changes)
  config = config_lib.complete(config)
  begun = begin.begin(config, 0, total=1).parts
  leaves = tree.flatten(begun.params)
  assert 'encoder/layer_0/mixer/segment/kernel' in leaves
  theirs = hf_folders.read(places / 'hf')
  np.testing.assert_array_equal(
    leaves['encoder/layer_1/ffn/ffn_in/kernel'],
    theirs['encoder.layer.1.intermediate.dense.weight'].T,
  )
  assert not np.array_equal(
    leaves['encoder/layer_1/mixer/query/kernel'],
    theirs['encoder.layer.1.attention.self.query.weight'].T,
  )
  runs.run(config, places / 'run')
  lines = (places / 'run/metrics.jsonl').read_text().splitlines()
  losses = [json.loads(line).get('validation/loss') for line in lines]
  early, late = [loss for loss in losses if loss is not None]
  assert late < 0.8 * early
  module, params = saved_model.load(places / 'run')
  assert module.config.mixer == 'ponet'
  assert {n.split('/')[0] for n in tree.flatten(params)} == {
    'encoder',
    'pooler',
  }


def test_only_the_fourier_transform_pads_all_rows_to_one_length():
  plain, padded = (
    mixers.tuned('rte', mixer, 'DIR')['data'] for mixer in ('hydra', 'fourier')
  )
  assert padded['buckets'] == (padded['max_length'],) == plain['buckets'][-1:]
  assert len(plain['buckets']) > 1
