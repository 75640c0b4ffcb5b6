"""The loss of targets by hand; how plain text is split."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.models import model as models
from glue_jax.objectives import seq2seq_lm
from glue_jax.objectives.task import cross_entropy

CONFIG = models.build('bart', 'tiny').config


def objective(**settings):
  model = types.SimpleNamespace(kind='seq2seq_lm', config=CONFIG)
  return seq2seq_lm.make(types.SimpleNamespace(model=model), **settings)


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_the_loss_is_the_mean_over_targets(smoothing):
  """Of rows with targets of their own, each with its weight."""
  logits = np.random.default_rng(0).normal(size=(2, 4, 50)).astype(np.float32)
  labels = np.array([[5, 6, 2, -100], [7, 2, -100, -100]])
  seen = []

  def apply(params, batch, **how):
    seen.append(batch)
    return {'logits': jnp.asarray(logits)}

  batch = {
    'input_ids': jnp.ones((2, 3), int),
    'attention_mask': jnp.ones((2, 3), int),
    'labels': jnp.asarray(labels),
    'weight': jnp.array([1.0, 0.0]),
  }
  made = objective(label_smoothing=smoothing)
  loss, metrics = made.loss(apply, {}, batch, jax.random.key(0))
  first = cross_entropy(jnp.asarray(logits[0, :3]), labels[0, :3], smoothing)
  assert float(loss) == pytest.approx(float(first.mean()), rel=1e-6)
  assert float(metrics['loss'][1]) == 3
  np.testing.assert_array_equal(
    seen[0]['decoder_input_ids'], [[2, 5, 6, 2], [2, 7, 2, 1]]
  )
  # What is evaluated is the plain loss.
  rows = made.predict(apply, {}, batch)
  plain = cross_entropy(jnp.asarray(logits[0, :3]), labels[0, :3]).sum()
  assert float(rows['loss_sum'][0]) == pytest.approx(float(plain), rel=1e-6)


def test_plain_text_is_split_in_two():
  tokens = jnp.arange(10, 22).reshape(2, 6)
  count = jnp.array([6, 3])
  points = set()
  for seed in range(20):
    rng = jax.random.key(seed)
    ids, mask, labels = seq2seq_lm.split(rng, tokens, count, CONFIG)
    for row, n in enumerate(count.tolist()):
      before = ids[row][mask[row]].tolist()
      after = labels[row][labels[row] >= 0].tolist()
      assert before[-1] == after[-1] == CONFIG.end_id
      assert before[:-1] + after[:-1] == tokens[row, :n].tolist()
      assert len(before) > 1 and len(after) > 1
      assert (ids[row][~mask[row]] == CONFIG.pad_id).all()
    points.add(int(mask[0].sum()) - 1)
  assert points == {1, 2, 3, 4, 5}


def test_a_decoder_is_refused():
  model = types.SimpleNamespace(kind='causal_lm', family='llama')
  ctx = types.SimpleNamespace(model=model)
  with pytest.raises(ValueError, match="'llama' with the head 'causal_lm'"):
    seq2seq_lm.make(ctx)
