"""E2S2: what noise does to rows, its losses, and what is refused."""

import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.models import model as models
from glue_jax.objectives import e2s2, e2s2_noise, e2s2_prompt
from tests import quick

MASK, PAD, LENGTH, IDS = 4, 1, 60, 90
# <s> at the start, </s> at the end, words of one and of several pieces.
SIZES = np.array([1, 1, 2, 1, 3, 1, 1, 1])


def batch(rows=24):
  """Rows of full and half length, of words of one to three pieces."""
  word = np.repeat(np.arange(len(SIZES) * 9), np.tile(SIZES, 9))
  lengths = np.where(np.arange(rows) % 2, LENGTH, LENGTH // 2)[:, None]
  place = np.arange(LENGTH)
  inner = (place > 0) & (place < lengths - 1)
  text = 5 + np.random.default_rng(0).permutation(IDS - 5)[:LENGTH]
  end = np.where(place == 0, 0, np.where(place < lengths, 2, PAD))
  return {
    'input_ids': jnp.asarray(np.where(inner, text, end)),
    'attention_mask': jnp.asarray(place < lengths, jnp.int32),
    'word_ids': jnp.asarray(np.where(inner, word[:LENGTH], -1)),
    'weight': jnp.ones(rows),
  }


def test_words_change_places_and_tokens_are_replaced():
  given = batch()
  ids, mask = given['input_ids'], given['attention_mask'] != 0
  ids = ids.at[:, 20].set(MASK)
  kind = e2s2_noise.kinds(given['word_ids']).at[:, 20].set(0)
  run = quick.jit(e2s2.noised, static_argnums=(4, 5))
  noise = e2s2_noise.draw(jax.random.key(0), ids.shape, 0.05, IDS)
  moved, labels = run(ids, kind, mask, noise, (0.05, 0.0), MASK)
  # The same tokens; a label where another one stands; special ones stay.
  np.testing.assert_array_equal(np.sort(moved, -1), np.sort(ids, -1))
  np.testing.assert_array_equal(labels == 1, moved != ids)
  assert not np.asarray(labels)[np.asarray(kind == 0)].any()
  # A centre is a word of one piece: other words at most change a place with it.
  changed = np.asarray(labels).sum(-1)
  assert changed[::2].max() <= 3 * 2 and changed[1::2].max() <= 3 * 3
  assert changed.sum() > len(changed)
  both, labels = run(ids, kind, mask, noise, (0.05, 0.15), MASK)
  new = np.asarray(labels) == 2
  np.testing.assert_array_equal(both, np.where(new, noise.tokens, moved))
  assert not new[np.asarray(~mask)].any() and not new[:, 0].any()
  assert (new & np.asarray(moved != ids)).sum() == 0
  # ceil(0.15 n) places, of which those of shuffled tokens are lost.
  lost = np.ceil(0.15 * np.asarray(mask.sum(-1))) - new.sum(-1)
  assert (lost >= 0).all() and (lost <= changed).all() and lost.sum() < 40
  assert new[:, 20].any()  # a [MASK] may be
  alone, labels = run(ids, kind, mask, noise, (0.0, 0.15), MASK)
  assert set(np.unique(labels)) == {0, 1}
  assert not np.asarray(alone == ids)[np.asarray(labels) == 1].all()


def test_the_first_windows_have_the_centres():
  shape = 400, 122
  ids = jnp.broadcast_to(jnp.arange(shape[1]), shape)
  kind = jnp.full(shape, e2s2_noise.START).at[:, (0, -1)].set(0)
  count = jnp.full(len(ids), shape[1])
  noise = e2s2_noise.draw(jax.random.key(1), shape, 0.025, IDS)
  assert e2s2_noise.window(0.05) == 18 and e2s2_noise.window(0.025) == 39
  moved = e2s2_noise.shuffled(ids, kind, count, noise, 0.025)
  changed = np.asarray(moved != ids)
  # Three of four windows of 39 words, in each the same chance for each word;
  # the last one where a centre would have had a special token beside it.
  assert 0 < changed[:, 1 + 3 * 39 + 1 :].any(-1).mean() < 0.06
  share = changed[:, 3:116].mean(0)
  # Two or all three of five in six triples: 13 / 6 of 3 tokens on average.
  assert share.mean() == pytest.approx(13 / 6 / 39, rel=0.1)


def test_views_are_compared_with_those_of_other_rows():
  rng = np.random.default_rng(0)
  one, two = (jnp.asarray(rng.normal(size=(5, 8))) for _ in range(2))
  ones = jnp.ones(5)
  losses = e2s2.nt_xent(one, two, ones)
  np.testing.assert_allclose(e2s2.nt_xent(3 * one, two, ones), losses, 1e-5)
  np.testing.assert_allclose(e2s2.nt_xent(two, one, ones), losses, 1e-5)
  same = jnp.eye(5)
  expected = math.log(1 + 8 * math.exp(-1))
  np.testing.assert_allclose(e2s2.nt_xent(same, same, ones), expected, 1e-6)
  # Rows that fill up are no one's negatives.
  weight = jnp.array([1.0, 1, 1, 0, 0])
  few = e2s2.nt_xent(one[:3], two[:3], ones[:3])
  np.testing.assert_allclose(e2s2.nt_xent(one, two, weight)[:3], few, 1e-5)


def context(family='bart', lengths=(LENGTH,), **changes):
  model = models.build(
    family, 'tiny', kind='seq2seq_lm', vocab_size=IDS + 10, hidden_size=16,
    num_layers=1, intermediate_size=16, num_heads=2, dropout=0.5,
  )  # fmt: skip
  backend = SimpleNamespace(
    encode=lambda text, **_: SimpleNamespace(ids=[7] * len(text.split()))
  )
  tokenizer = SimpleNamespace(
    mask_id=MASK, vocab_size=IDS, vocab={}, backend=backend
  )
  made = dict(model=model, tokenizer=tokenizer, lengths=lengths)
  return SimpleNamespace(**made | changes)


class Asked:
  """A model that keeps what it is asked, and whose states are the ids."""

  def __init__(self, model):
    self.model, self.batches = model, []

  def __call__(self, params, given, train=False, rng=None):
    self.batches.append(given)
    words = jax.nn.one_hot(given['decoder_input_ids'], IDS + 10)
    states = jnp.stack([given['input_ids']] * 16, -1)
    return {'logits': words, 'encoder_last_hidden': states * 1.0}


def asked(ctx, **arguments):
  """(what the encoder is given, metrics of a step) of one batch."""
  objective = e2s2.make(ctx, **arguments)
  apply, params = Asked(ctx.model), {}
  if objective.method:
    params = objective.method.surgery(jax.random.key(0), params)
    assert objective.method.export(params) == {}
  _, metrics = objective.loss(apply, params, batch(), jax.random.key(3))
  return apply.batches, metrics


def test_t5_leaves_spans_out_and_keeps_its_sentinels():
  ctx = context('t5')
  (noisy, plain), metrics = asked(
    ctx, corruption='span_corruption', shuffle=0.2, replace=0.3
  )
  one, two = (np.asarray(x['input_ids']) for x in (noisy, plain))
  real = np.asarray(noisy['attention_mask'])
  assert (one != two).sum() > 100 and not (one != two)[~real].any()
  # Two to four spans of each row, the last id the first sentinel.
  kept = (two >= IDS) | (two == ctx.model.config.end_id)
  np.testing.assert_array_equal(one[kept & real], two[kept & real])
  assert (two == IDS + 9).sum() == len(two)
  target = np.asarray(noisy['decoder_input_ids'])
  assert target.shape[1] < 20 and target.max() == IDS + 9
  assert metrics['noise_loss'][1] == real.sum()


def test_a_prompt_stands_around_both_views():
  ctx = context()
  plain = asked(ctx)[0]
  wrapped, _ = asked(ctx, prompt='{mask} is of {text} so')
  for bare, given in zip(plain, wrapped, strict=True):
    bare, given = (np.asarray(x['input_ids']) for x in (bare, given))
    for row, longer in zip(bare, given, strict=True):
      n = (row != PAD).sum()
      expected = [row[0], MASK, 7, 7, *row[1 : n - 1], 7, row[n - 1]]
      assert longer[: n + 4].tolist() == expected
      assert (longer[n + 4 :] == PAD).all()
  labels, count = jnp.full((1, 5), 2), jnp.array([[4]])
  found = e2s2_prompt.wrapped(labels, count, [0, 0], [0], 1, 0)
  assert found[0].tolist() == [2, 0, 0, 2, 2, 0, 2, 0]


def test_parts_without_a_weight_are_not_there():
  views, metrics = asked(context(), contrastive_weight=0.0)
  assert len(views) == 1
  assert not {'plain_reconstruction', 'contrastive_loss'} & metrics.keys()
  for arguments in (dict(label_weight=0.0), dict(shuffle=0.0, replace=0.0)):
    objective = e2s2.make(context(), **arguments)
    assert objective.method is None and 'noise_loss' not in objective.terms
  # A total of the means, each of its own count.
  _, metrics = asked(context(), label_weight=0.5, contrastive_weight=0.25)
  means = {name: a / b for name, (a, b) in metrics.items()}
  nll = (means['reconstruction'] + means['plain_reconstruction']) / 2
  total = nll + means['noise_loss'] / 2 + means['contrastive_loss'] / 4
  assert means['loss'] == pytest.approx(float(total), rel=1e-6)


@pytest.mark.parametrize(
  'changes, arguments, message',
  [
    (dict(model=SimpleNamespace(kind='mlm', family='bert', config=None)), {},
     'encoder-decoder'),
    (dict(tokenizer=SimpleNamespace(mask_id=None)), {}, r'\[MASK\]'),
    ({}, dict(prompt='no place'), r'\{text\} 0 times'),
    (dict(lengths=(511,)), dict(prompt='of {text} so'), 'positions'),
  ],
)  # fmt: skip
def test_what_cannot_be_is_refused(changes, arguments, message):
  with pytest.raises(ValueError, match=message):
    e2s2.make(context(**changes), **arguments)


def test_a_row_alone_has_nothing_to_compare_with():
  objective, alone = e2s2.make(context()), {'input_ids': jnp.ones((1, 8))}
  with pytest.raises(ValueError, match='a larger data.batch_size, or'):
    objective.loss(None, {}, alone, None)


def test_a_finished_model_has_lost_its_label_head():
  objective = e2s2.make(context())
  with pytest.raises(ValueError, match='result.json'):
    objective.predict(None, {'encoder': {}}, batch())
