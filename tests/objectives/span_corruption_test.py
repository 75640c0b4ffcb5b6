"""T5's noise: how much, where, and that nothing of the text is lost."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.models import model as models
from glue_jax.objectives import span_corruption
from tests import quick

CONFIG = models.build('t5', 'small').config
COUNTS = (30, 17, 5, 2, 1)
LENGTH = 30


@pytest.mark.parametrize('rate,mean', [(0.3, 3.0), (0.5, 2.0)])
def test_input_and_target_make_the_text(rate, mean):
  noise, spans = span_corruption.budget(LENGTH, rate, mean)
  tokens = np.arange(5 * LENGTH, dtype=np.int32).reshape(5, LENGTH) + 5
  count = jnp.array(COUNTS)
  seen = set()

  @quick.jit
  def run(rng):
    out = span_corruption.draw(rng, count, noise, spans)
    made = span_corruption.corrupt(
      jnp.asarray(tokens), count, out, 999, CONFIG, (LENGTH + 9, LENGTH + 9)
    )
    return out, made

  for seed in range(8):
    out, (ids, mask, labels) = jax.device_get(run(jax.random.key(seed)))
    for row, n in enumerate(COUNTS):
      left = out[row, :n]
      assert not out[row, n:].any() and left.sum() == noise[n]
      begins = left & ~np.pad(left, (1, 0))[:-1]
      assert begins.sum() == spans[n]
      assert not noise[n] or (left[-1] and not left[0])
      text = rejoined(ids[row][mask[row]], labels[row][labels[row] >= 0])
      assert text == tokens[row, :n].tolist()
    seen.add(out[0].tobytes())
  assert len(seen) == 8


def rejoined(ids, target):
  """The text, from an input and a target that both have their end token."""
  assert ids[-1] == target[-1] == CONFIG.end_id
  pieces, now = {}, None
  for token in target[:-1].tolist():
    if token > 900:
      now = pieces.setdefault(token, [])
    else:
      now.append(token)
  # The target's sentinel stands for the text before the noise of its number.
  text = []
  for token in ids[:-1].tolist():
    text += pieces[token] if token > 900 else [token]
  assert list(pieces) == sorted(pieces, reverse=True)
  return text


def test_the_published_lengths():
  """568 tokens fill inputs of 512 and give targets of 114."""
  noise, spans = span_corruption.budget(568, 0.15, 3.0)
  lost, pieces = noise[-1], spans[-1]
  assert (568 - lost + pieces + 1, lost + pieces + 1) == (512, 114)
  assert noise.tolist()[:3] == [0, 0, 1] and (np.diff(noise) >= 0).all()


def test_spans_are_uniform_partitions():
  """Of five tokens in two parts, each of the four ways as often."""
  luck = jax.random.uniform(jax.random.key(0), (4000, 8))
  parts = span_corruption._parts(luck, jnp.full(4000, 5), jnp.full(4000, 2), 3)
  first = np.asarray(parts)[:, 0]
  assert (np.asarray(parts).sum(-1) == 5).all()
  shares = np.bincount(first, minlength=6)[1:5] / 4000
  np.testing.assert_allclose(shares, 0.25, atol=0.03)


def test_sentinels_are_named_or_beyond_the_vocabulary():
  named = {'a': 0, '<extra_id_0>': 9, '<extra_id_1>': 8, '<extra_id_2>': 4}
  tokenizer = types.SimpleNamespace(vocab=named, vocab_size=10)
  assert span_corruption.sentinels(tokenizer, CONFIG) == (9, 2)
  tokenizer = types.SimpleNamespace(vocab={'a': 0}, vocab_size=32_120)
  assert span_corruption.sentinels(tokenizer, CONFIG) == (32_127, 8)


def test_too_few_sentinels_are_refused():
  model = types.SimpleNamespace(kind='seq2seq_lm', config=CONFIG)
  tokenizer = types.SimpleNamespace(vocab={}, vocab_size=CONFIG.vocab_size - 1)
  ctx = types.SimpleNamespace(model=model, tokenizer=tokenizer)
  rows = {'input_ids': jnp.ones((1, 60), int), 'word_ids': jnp.ones((1, 60))}
  with pytest.raises(ValueError, match='3 spans .* there are 1 sentinels'):
    span_corruption.make(ctx).predict(None, None, rows)
