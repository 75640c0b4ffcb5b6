from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import core

from glue_jax.models import model as models
from glue_jax.objectives import distill, mlm, mlm_sso, task

# What becomes [MASK] and what another token.
SHARES = (0.8, 0.1)


def fake(outputs):
  return lambda params, batch, **kwargs: outputs


def context(kind):
  model = SimpleNamespace(family='bert', kind=models.head_kind('bert', kind))
  task = SimpleNamespace(kind=kind, form=kind)
  return SimpleNamespace(task=task, model=model)


def test_padding_rows_count_for_nothing():
  logits = jnp.array([[2.0, 0.0], [0.0, 1.0], [9.0, -9.0]])
  batch = {'labels': jnp.array([0, 1, 1]), 'weight': jnp.array([1.0, 1.0, 0])}
  objective = task.make(context('classification'))
  loss, metrics = objective.loss(fake({'logits': logits}), {}, batch, None)
  expected = (np.log1p(np.exp(-2)) + np.log1p(np.exp(-1))) / 2
  assert float(loss) == pytest.approx(expected, rel=1e-5)
  assert [float(x) for x in metrics['accuracy']] == [2, 2]


def test_label_smoothing_mixes_in_the_uniform_target():
  logits, labels = jnp.array([[1.0, 0.0, -1.0]]), jnp.array([0])
  ours = float(task.cross_entropy(logits, labels, 0.3)[0])
  log_p = np.asarray(jax.nn.log_softmax(logits))[0]
  assert ours == pytest.approx(-0.7 * log_p[0] - 0.3 * log_p.mean(), rel=1e-5)


def test_tokens_without_label_are_left_out():
  logits = jnp.zeros((1, 3, 4))
  batch = {'labels': jnp.array([[-100, 2, -100]]), 'weight': jnp.ones(1)}
  objective = task.make(context('token_classification'))
  _, metrics = objective.loss(fake({'logits': logits}), {}, batch, None)
  total, count = metrics['loss']
  assert float(count) == 1
  assert float(total) == pytest.approx(np.log(4), rel=1e-6)


def test_span_loss_is_the_mean_of_both_ends():
  outputs = {'start_logits': jnp.zeros((1, 4)), 'end_logits': jnp.zeros((1, 2))}
  batch = {
    'start_positions': jnp.array([1]),
    'end_positions': jnp.array([1]),
    'weight': jnp.ones(1),
  }
  loss, _ = task.make(context('span')).loss(fake(outputs), {}, batch, None)
  assert float(loss) == pytest.approx((np.log(4) + np.log(2)) / 2, rel=1e-6)


def test_a_kind_without_loss_is_refused():
  with pytest.raises(ValueError, match="no loss for kind 'language_modeling'"):
    task.make(context('language_modeling'))


def words(batch=64, length=32):
  """Words of 1 to 3 tokens, with a special token at both ends."""
  rng = np.random.default_rng(0)
  rows = []
  for _ in range(batch):
    sizes = rng.integers(1, 4, length)
    row = np.repeat(np.arange(length), sizes)[: length - 2]
    rows.append(np.concatenate([[-1], row, [-1]]))
  return jnp.asarray(np.stack(rows), jnp.int32)


@pytest.mark.parametrize('whole_word', [True, False])
def test_masking_takes_the_budget_and_whole_words(whole_word):
  ids = jnp.full((64, 32), 7, jnp.int32)
  batch = {'input_ids': ids, 'word_ids': words()}
  out = mlm.mask_tokens(
    jax.random.key(0),
    batch,
    rate=0.15,
    mask_id=1,
    vocab_size=1000,
    whole_word=whole_word,
    shares=SHARES,
  )
  chosen = np.asarray(out['labels'] >= 0)
  word = np.asarray(batch['word_ids'])
  assert not chosen[word < 0].any()
  assert chosen.sum(-1).min() >= 1 and chosen.sum(-1).max() <= 5
  if not whole_word:
    assert (chosen.sum(-1) == round(0.15 * 30)).all()
  else:
    for row, numbers in zip(chosen, word):
      for number in set(numbers[row]):
        assert row[numbers == number].all()
  kept = np.asarray(out['input_ids'])[chosen]
  assert (np.asarray(out['input_ids'])[~chosen] == 7).all()
  assert 0.68 < (kept == 1).mean() < 0.92  # 80 % [MASK]
  assert 0.03 < (kept == 7).mean() < 0.2  # 10 % unchanged


def test_words_are_measured_without_comparing_all_pairs(monkeypatch):
  batch = {'input_ids': jnp.full((8, 32), 7), 'word_ids': words(8)}

  def masks(rng):
    return mlm.mask_tokens(
      rng, batch, rate=0.15, mask_id=1, vocab_size=9,
      whole_word=True, shares=SHARES,
    )  # fmt: skip

  def elements():
    traced = jax.make_jaxpr(lambda rng: masks(rng))(jax.random.key(0))
    return largest(traced.jaxpr)

  assert elements() <= 8 * (32 + 1)
  ours = masks(jax.random.key(3))

  def all_pairs(starts):
    unit = jnp.cumsum(starts, -1) - 1
    same = unit[:, :, None] == unit[:, None, :]
    return same.sum(-1)

  monkeypatch.setattr(mlm, '_sizes', all_pairs)
  assert elements() == 8 * 32**2
  jax.tree.map(np.testing.assert_array_equal, ours, masks(jax.random.key(3)))


def largest(jaxpr):
  """Elements of the largest array that a program makes."""
  sizes = [0]
  for step in jaxpr.eqns:
    sizes += [var.aval.size for var in step.outvars]
    sizes += map(largest, core.jaxprs_in_params(step.params))
  return max(sizes)


def test_shares_of_masks_are_checked_and_kept():
  ctx = context('language_modeling')
  ctx.tokenizer = SimpleNamespace(mask_id=1, vocab_size=9)
  with pytest.raises(ValueError, match='mask_share=0.8, random_share=0.3'):
    mlm.make(ctx, random_share=0.3)
  other = SimpleNamespace(model=context('span').model, tokenizer=ctx.tokenizer)
  with pytest.raises(ValueError, match="head 'span'; give model.head='mlm'"):
    mlm.make(other)
  batch = {'input_ids': jnp.full((8, 32), 7), 'word_ids': words(8)}
  masked = mlm.masker(ctx, 0.15, False, (1.0, 0.0))
  out = masked(batch, jax.random.key(0))
  np.testing.assert_array_equal((out['input_ids'] == 1).sum(-1), 4)
  np.testing.assert_array_equal((out['labels'] == 7).sum(-1), 4)


def test_masks_differ_by_key_and_repeat_with_it():
  batch = {'input_ids': jnp.full((4, 32), 7), 'word_ids': words(4)}
  draw = lambda seed: np.asarray(
    mlm.mask_tokens(
      jax.random.key(seed),
      batch,
      rate=0.15,
      mask_id=1,
      vocab_size=9,
      whole_word=True,
      shares=SHARES,
    )['labels']
  )
  np.testing.assert_array_equal(draw(0), draw(0))
  assert (draw(0) != draw(1)).any()


def test_words_over_the_budget_are_chosen_token_by_token():
  # A text without blanks; one with a long word in it; words of its budget.
  word = np.zeros((3, 32), np.int32)
  word[1] = [*range(10), *[10] * 12, *range(11, 21)]
  word[2] = np.arange(32) // 5
  word[:, 0] = -1
  batch = {'input_ids': jnp.full((3, 32), 7), 'word_ids': jnp.asarray(word)}
  draw = jax.vmap(
    lambda rng: mlm.mask_tokens(
      rng, batch, rate=0.15, mask_id=1, vocab_size=9,
      whole_word=True, shares=SHARES,
    )['labels'] >= 0
  )  # fmt: skip
  chosen = np.asarray(draw(jax.random.split(jax.random.key(0), 200)))
  assert (chosen.sum(-1)[:, 0] == 5).all() and chosen.sum(-1).max() == 5
  assert chosen.any(0)[:, 1:].all()  # in time, every token is predicted
  assert chosen.mean(0)[0, 1:].min() > 0.06  # of the 0.16 that is expected
  for row in chosen[:, 2]:
    assert len(set(word[2][row])) == 1  # whole as before


def test_runs_of_words_have_the_lengths_of_albert():
  # Words of two tokens; no run reaches over the special token in the middle.
  word = np.arange(128) // 2
  word[[0, 64, 127]] = -1
  words = jnp.asarray(word)[None]
  starts = mlm.unit_starts(words, 20)

  @jax.jit
  @jax.vmap
  def draw(rng):
    return mlm.run_starts(rng, words, starts, 3, jnp.full((1, 1), 20))[0]

  runs = np.asarray(draw(jax.random.split(jax.random.key(0), 300)))
  assert not (runs & ~np.asarray(starts[0])).any()
  assert runs[:, 65].all()
  inside = runs[:, 2:60:2]
  # Of 11 runs 6 have one word, 3 two and 2 three: 1.64 in the mean.
  assert inside.mean() == pytest.approx(11 / 18, abs=0.02)
  gaps = np.concatenate([np.diff(np.flatnonzero(row)) for row in inside])
  shares = np.bincount(gaps, minlength=4)[1:] / len(gaps)
  np.testing.assert_allclose(shares, [6 / 11, 3 / 11, 2 / 11], atol=0.02)
  # What is over the budget is taken apart.
  few = mlm.run_starts(jax.random.key(0), words, starts, 3, jnp.full((1, 1), 1))
  np.testing.assert_array_equal(few, starts)
  ctx = context('language_modeling')
  ctx.tokenizer = SimpleNamespace(mask_id=4, vocab_size=50)
  with pytest.raises(ValueError, match='runs of whole words'):
    mlm.make(ctx, ngrams=3, whole_word=False)


@pytest.mark.parametrize('whole_word', [True, False])
def test_logits_of_chosen_tokens_are_enough(whole_word):
  sizes = dict(vocab_size=50, hidden_size=8, num_layers=1, dropout=0.0)
  model = models.build(
    'bert', 'tiny', kind='mlm', attention_dropout=0.0, **sizes
  )
  batch = {
    'input_ids': jax.random.randint(jax.random.key(1), (16, 32), 5, 50),
    'word_ids': words(16),
    'weight': jnp.ones(16).at[3].set(0.0),
  }
  params = model.init(jax.random.key(2), batch)['params']
  ctx = context('language_modeling')
  ctx.tokenizer = SimpleNamespace(mask_id=4, vocab_size=50)
  objective = mlm.make(ctx, whole_word=whole_word)
  seen = []

  def apply(params, batch, **kwargs):
    seen.append(batch)
    return model.apply({'params': params}, batch)

  loss, metrics = objective.loss(apply, params, batch, jax.random.key(0))
  (masked,) = seen
  assert masked['labels'].shape == (16, 5)
  key, _ = jax.random.split(jax.random.key(0))
  whole = mlm.mask_tokens(
    key,
    batch,
    rate=0.15,
    mask_id=4,
    vocab_size=50,
    whole_word=whole_word,
    shares=SHARES,
  )
  logits = model.apply({'params': params}, whole)['logits']
  assert logits.shape == (16, 32, 50)
  total, _, count = (x.sum() for x in mlm.score(logits, whole))
  assert float(metrics['loss'][1]) == float(count) > 16
  np.testing.assert_allclose(loss, total / count, rtol=1e-6)


def test_soft_cross_entropy_is_zero_for_equals_and_scales_with_temperature():
  logits = jnp.array([[1.0, 2.0, 3.0]])
  assert float(distill.soft_cross_entropy(logits, logits, 3.0)[0]) == (
    pytest.approx(0, abs=1e-6)
  )
  # For a high temperature T^2 KL -> half the variance of the difference / C.
  other = jnp.array([[1.0, 2.0, 4.0]])
  found = float(distill.soft_cross_entropy(logits, other, 30.0)[0])
  assert found == pytest.approx(np.var([0, 0, 1]) / 2, rel=5e-2)


def test_sentence_structure_adds_the_order_of_the_pair():
  # Of one token a row: 15 % of three.
  words = jnp.zeros((2, 1, 7)).at[..., 5].set(2.0)
  order = jnp.array([[1.0, 0.0, 0.0], [0.0, 3.0, 0.0]])
  outputs = {'logits': words, 'structure_logits': order}
  batch = {
    'input_ids': jnp.array([[2, 5, 3], [2, 5, 3]]),
    'word_ids': jnp.array([[-1, 0, -1], [-1, 0, -1]]),
    'labels': jnp.array([0, 2]),
    'weight': jnp.array([1.0, 1.0]),
  }
  ctx = context('sentence_structure')
  ctx.tokenizer = SimpleNamespace(mask_id=4, vocab_size=7)
  run = lambda weight: mlm_sso.make(ctx, structure_weight=weight).loss(
    fake(outputs), {}, batch, jax.random.key(0)
  )
  (both, metrics), (alone, _) = run(1.0), run(0.0)
  expected = np.log(np.exp([1.0, 0, 0]).sum()) - 1
  expected += np.log(np.exp([0, 3.0, 0]).sum())
  assert float(both - alone) == pytest.approx(expected / 2, rel=1e-5)
  assert [float(x) for x in metrics['structure_accuracy']] == [1, 2]
  assert float(alone) == pytest.approx(np.log(6 + np.exp(2.0)) - 2, rel=1e-5)


def test_sentence_structure_needs_its_task():
  with pytest.raises(ValueError, match="needs task.kind='sentence_structure'"):
    mlm_sso.make(context('classification'))
