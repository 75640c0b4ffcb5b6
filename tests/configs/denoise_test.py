"""Denoising from the shipped config: the loss falls, the model is tuned on."""

import json

import numpy as np
import pytest

from configs.pretrain import denoise
from glue_jax.config import config as config_lib
from glue_jax.training import runs
from glue_jax.weights import saved_model

LENGTH = 24
STEPS = 24


@pytest.fixture
def corpus(tmp_path):
  """Words that come in one order, so that what is left out can be known."""
  words = [f'w{i}' for i in range(10)]
  rng = np.random.default_rng(0)
  for split in ('train', 'valid'):
    (tmp_path / split).mkdir()
    starts = rng.integers(0, 10, 60)
    lines = [' '.join(words[(s + i) % 10] for i in range(12)) for s in starts]
    (tmp_path / split / 'a.txt').write_text(' .\n'.join(lines))
  return tmp_path


def test_two_stages_of_t5(corpus, monkeypatch):
  monkeypatch.setenv('GLUE_JAX_CORPUS', str(corpus))
  config = denoise.get_config('mini_acceptability,t5').to_dict()
  (first, pretrain), (second, tuned) = config['stages']
  small = dict(batch_size=16, eval_batch_size=16, max_length=LENGTH)
  pretrain = config_lib.override(
    pretrain,
    dict(
      data=small | dict(buckets=(LENGTH,), vocab_size=60),
      model=dict(hidden_size=32, num_heads=2, num_layers=1, vocab_size=68),
      optimizer=dict(lr=1e-2),
      train=dict(steps=STEPS, eval_every=STEPS // 2, log_every=STEPS),
    ),
  )
  tuned = config_lib.override(
    tuned,
    dict(
      data=small
      | dict(buckets=(LENGTH,), train_limit=16, eval_limit=16, cache_dir=''),
      train=dict(epochs=1),
    ),
  )
  config = {'stages': ((first, pretrain), (second, tuned))}
  runs.run(config_lib.complete(config), corpus / 'runs')
  lines = (corpus / 'runs/pretrain/metrics.jsonl').read_text().splitlines()
  rows = [json.loads(line) for line in lines]
  key = 'validation/loss'
  losses = [row[key] for row in rows if key in row]
  assert len(losses) == 2 and losses[1] < losses[0] < np.log(68) + 1
  module, _ = saved_model.load(corpus / 'runs/finetune')
  assert (module.family, module.kind) == ('t5', 'classification')
  # From scratch the tokenizer's own tokens begin and end what is written.
  assert module.config.start_id == module.config.pad_id
  assert module.config.end_id != module.config.pad_id
