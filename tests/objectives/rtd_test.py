"""Replaced tokens: what is masked, what counts as replaced, what is refused."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from configs.pretrain import electra
from glue_jax.config import config as config_lib
from glue_jax.inference import open_run
from glue_jax.models import model as models
from glue_jax.objectives import rtd
from glue_jax.training import runs
from glue_jax.weights import saved_model
from tests.conftest import tiny_config

LENGTH, MASK = 40, 1


def batch(rows=64):
  """Rows of full and half length, a special token at both ends."""
  lengths = np.where(np.arange(rows) % 2, LENGTH, LENGTH // 2)[:, None]
  place = np.arange(LENGTH)
  inner = (place > 0) & (place < lengths - 1)
  return {
    'input_ids': jnp.where(inner, 7, jnp.where(place < lengths, 2, 0)),
    'attention_mask': jnp.asarray(place < lengths, jnp.int32),
    'word_ids': jnp.where(inner, place, -1),
  }


def test_masks_keep_to_the_budget_and_to_words():
  given = batch()
  out = rtd.masks(jax.random.key(0), given, 0.15, 0.85, MASK)
  assert out['positions'].shape == (64, 6)
  chosen = np.zeros((64, LENGTH), bool)
  rows = np.arange(64)[:, None]
  chosen[rows, out['positions']] = out['labels'] >= 0
  assert not chosen[np.asarray(given['word_ids']) < 0].any()
  # 6 and 3 draws, of which some fall together.
  count = chosen.sum(-1)
  assert count[::2].max() == 3 and count[1::2].max() == 6 and count.min() >= 1
  assert count[1::2].mean() == pytest.approx(6 - 6 * 5 / 2 / 38, abs=0.25)
  ids = np.asarray(out['input_ids'])
  assert (ids[~chosen] == np.asarray(given['input_ids'])[~chosen]).all()
  assert 0.75 < (ids[chosen] == MASK).mean() < 0.94
  assert (np.asarray(out['labels'])[np.asarray(out['labels']) >= 0] == 7).all()


def test_a_sample_equal_to_the_original_is_no_replacement():
  given = batch(2) | {'weight': jnp.array([1.0, 0.0])}
  masked = {
    'positions': jnp.array([[3, 5, 8], [3, 5, 8]]),
    'labels': jnp.array([[7, 7, -100], [7, -100, -100]]),
  }
  guess = jnp.array([[9, 7, 9], [9, 9, 9]])
  seen, replaced = rtd.corrupt(given, masked, guess)
  expected = np.zeros((2, LENGTH))
  expected[:, 3] = 1
  np.testing.assert_array_equal(replaced, expected)
  assert seen['input_ids'][:, 3].tolist() == [9, 9]
  assert (seen['input_ids'] != given['input_ids']).sum() == 2
  # Of the first row's 20 real tokens; the second fills up the batch.
  losses, right, count = rtd.score(jnp.zeros((2, LENGTH)), replaced, given)
  assert count.tolist() == [20, 0] and right.tolist() == [19, 0]
  np.testing.assert_allclose(losses, [20 * np.log(2), 0], rtol=1e-6)


def test_samples_follow_the_softmax_without_a_gradient():
  logits = jnp.broadcast_to(jnp.log(jnp.array([0.1, 0.6, 0.3])), (500, 8, 3))
  noise = jax.random.uniform(jax.random.key(0), logits.shape)
  drawn = np.asarray(rtd.sample(logits, noise))
  shares = np.bincount(drawn.ravel()) / drawn.size
  np.testing.assert_allclose(shares, [0.1, 0.6, 0.3], atol=0.03)
  cold = np.asarray(rtd.sample(logits, noise, 1e-3))
  assert (cold == 1).all()


def context(**changes):
  model = models.build(
    'electra', 'tiny', kind='replaced_tokens', vocab_size=9, hidden_size=24
  )
  tokenizer = SimpleNamespace(mask_id=MASK, vocab_size=9)
  return SimpleNamespace(**dict(model=model, tokenizer=tokenizer) | changes)


def test_the_generator_is_the_published_one():
  base = models.family('electra').PRESETS['base']
  small = rtd.generator_config(base, 1 / 3)
  assert (small.hidden_size, small.num_heads, small.num_layers) == (256, 4, 12)
  assert (small.intermediate_size, small.embedding_size) == (1024, 768)


@pytest.mark.parametrize(
  'changes, arguments, message',
  [
    (dict(model=SimpleNamespace(kind='mlm')), {}, "model.head='replaced_tok"),
    (dict(tokenizer=SimpleNamespace(mask_id=None)), {}, r'\[MASK\]'),
    ({}, dict(generator_size=0.01), 'leaves nothing'),
  ],
)
def test_what_cannot_be_is_refused(changes, arguments, message):
  with pytest.raises(ValueError, match=message):
    rtd.make(context(**changes), **arguments)


def test_a_model_without_its_generator_is_not_evaluated():
  objective = rtd.make(context())
  with pytest.raises(ValueError, match='keep_generator=True'):
    objective.predict(None, {'encoder': {}}, batch())


def test_a_pretrained_discriminator_is_tuned(tmp_path):
  """Through the loop: two networks, then the model alone on a task."""
  rng = np.random.default_rng(0)
  lines = [' '.join(rng.choice(list('abcdefgh'), 14)) for _ in range(64)]
  (tmp_path / 'text.txt').write_text('\n'.join(lines))
  text = str(tmp_path / 'text.txt')
  first = dict(electra.get_config('rte').stages)['pretrain']
  first = config_lib.override(
    first,
    dict(
      data=dict(
        files=dict(train=text, validation=text), tokenizer='train',
        vocab_size=60, max_length=16, buckets=(16,), batch_size=16,
      ),
      model=dict(
        preset='tiny', hidden_size=16, intermediate_size=32, num_layers=1,
        max_positions=16, dtype='float32',
      ),
      optimizer=dict(warmup=1),
      train=dict(steps=4, eval_every=4),
    ),
  )  # fmt: skip
  tuned = config_lib.plain(tiny_config())
  del tuned['stages']
  tuned['model'] = dict(weights='stage:pretrain', fresh=('head/.*',))
  tuned['data'] |= dict(tokenizer='stage:pretrain')
  tuned['train'] = dict(steps=2, eval_every=2)
  stages = [('pretrain', first), ('finetune', tuned)]
  runs.run(ml_collections.ConfigDict(dict(stages=stages)), tmp_path / 'w')
  found = json.loads((tmp_path / 'w/pretrain/result.json').read_text())
  found = found['metrics']['validation']
  assert 0 < found['replaced'] < 0.2 and found['generator_loss'] > 1
  assert open_run.load_run(tmp_path / 'w/pretrain').model.kind == (
    'replaced_tokens'
  )
  module, params = saved_model.load(tmp_path / 'w/finetune')
  assert module.kind == 'classification' and 'generator' not in params
