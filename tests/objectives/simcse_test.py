"""SimCSE: rows that fill up, hard negatives, texts from files, refusals."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.data import sentence_rows, wordpiece
from glue_jax.models import model as models
from glue_jax.objectives import simcse
from glue_jax.plugs import Apply

Z = np.random.default_rng(0).normal(size=(3, 6, 4)).astype(np.float32)


def test_rows_that_fill_up_are_no_ones_negatives():
  weight = jnp.array([1.0, 1, 1, 0, 0, 0])
  args = dict(temperature=0.1, hard_weight=0.7)
  many, right = simcse.info_nce(*Z, weight=weight, **args)
  few, _ = simcse.info_nce(*Z[:, :3], **args)
  np.testing.assert_allclose(many[:3], few, rtol=1e-5)
  assert np.isfinite(many).all() and right.shape == (6,)


def test_a_hard_negatives_weight_is_of_its_own_row():
  plain, heavy = (
    simcse.info_nce(*Z, temperature=0.1, hard_weight=w)[0] for w in (0.0, 2.0)
  )
  unit = Z / np.linalg.norm(Z, axis=-1, keepdims=True)
  soft = np.exp(10 * unit[0] @ unit[1].T), np.exp(10 * unit[0] @ unit[2].T)
  total = soft[0].sum(1) + soft[1].sum(1)
  own = np.diag(soft[1])
  np.testing.assert_allclose(
    plain, np.log(total) - np.log(np.diag(soft[0])), rtol=1e-4
  )
  more = np.log((total + (np.exp(2.0) - 1) * own) / total)
  np.testing.assert_allclose(heavy - plain, more, rtol=1e-3, atol=1e-5)


def model(**changes):
  sizes = dict(vocab_size=20, hidden_size=8, num_layers=1, num_heads=2)
  return models.build('bert', 'tiny', kind='sentences', **sizes | changes)


def context(module, kind='sentences'):
  return SimpleNamespace(task=SimpleNamespace(kind=kind), model=module)


def test_one_text_is_told_apart_by_its_dropout():
  apply = Apply(model(dropout=0.3))
  ids = jnp.arange(12).reshape(4, 1, 3) + 5
  batch = {'input_ids': ids, 'weight': jnp.ones(4)}
  params = apply.init(jax.random.key(0), batch)
  objective = simcse.make(context(apply.model))
  first, again, other = (
    float(objective.loss(apply, params, batch, jax.random.key(seed))[0])
    for seed in (0, 0, 1)
  )
  assert first == again != other
  # Without dropout the two are one vector, the nearest of all.
  rows = objective.predict(apply, params, batch)
  assert rows['correct'].tolist() == [1, 1, 1, 1]
  quiet = Apply(model(dropout=0.0, attention_dropout=0.0))
  with pytest.raises(ValueError, match='model.dropout'):
    simcse.make(context(quiet.model)).loss(
      quiet, params, batch, jax.random.key(0)
    )


@pytest.mark.parametrize(
  'ctx, message',
  [
    (context(None, 'span'), "task.kind='sentences', found 'span'"),
    (
      context(models.build('electra', 'tiny', vocab_size=9)),
      'electra has no pooler',
    ),
  ],
)
def test_what_cannot_be_is_refused(ctx, message):
  with pytest.raises(ValueError, match=message):
    simcse.make(ctx)


def test_texts_of_a_row_stand_between_tabs(tmp_path):
  path = tmp_path / 'rows.txt'
  path.write_text('a b\tb\tc c c\n\nc\ta a\tb b\n')
  tokenizer = wordpiece.train(['a b c'] * 9, 30)
  examples = sentence_rows.rows([path], tokenizer, 8)
  batch = examples.batch(np.array([0, 1, -1]), 8)
  assert batch['input_ids'].shape == (3, 3, 8)
  # [CLS] and [SEP] beside the words.
  sizes = batch['attention_mask'].sum(-1)
  assert sizes.tolist() == [[4, 3, 5], [3, 4, 4], [0, 0, 0]]
  for text, message in (
    ('a\tb\nc\n', r'rows.txt:2: 1 texts between tabs; expected 2, as in'),
    ('a\t\tb\n', r'rows.txt:1: text 2 of 3 is empty'),
    ('a\tb\tc\ta\n', 'expected 1 to 3'),
    ('\n', 'no line with a text|empty'),
  ):
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
      sentence_rows.rows([path], tokenizer, 8)
