"""The next token's loss: by hand, with padding, refused for an encoder."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.models import model as models
from glue_jax.objectives import causal_lm
from glue_jax.plugs import Apply
from tests import quick

LOGITS = np.random.default_rng(0).normal(size=(2, 4, 5)).astype(np.float32)
IDS = np.array([[0, 1, 4, 2], [3, 3, 0, 0]], np.int32)
MASK = np.array([[0, 1, 1, 1], [1, 1, 0, 0]], np.int32)


def by_hand():
  """Log-probabilities of the three pairs of neighbouring real tokens."""
  log_p = np.asarray(jax.nn.log_softmax(LOGITS))
  return log_p[0, 1, 4], log_p[0, 2, 2], log_p[1, 0, 3]


def batch(weight=(1.0, 1.0)):
  return {
    'input_ids': jnp.asarray(IDS),
    'attention_mask': jnp.asarray(MASK),
    'weight': jnp.asarray(weight),
  }


def objective(family='llama', kind='causal_lm'):
  return causal_lm.make(
    SimpleNamespace(model=SimpleNamespace(family=family, kind=kind))
  )


def test_the_loss_is_the_mean_over_real_pairs():
  apply = lambda params, batch, **kwargs: {'logits': jnp.asarray(LOGITS)}
  loss, metrics = objective().loss(apply, {}, batch(), None)
  assert float(loss) == pytest.approx(-np.mean(by_hand()), rel=1e-5)
  assert float(metrics['loss'][1]) == 3
  # A row that fills up a batch counts for nothing.
  loss, metrics = objective().loss(apply, {}, batch((0.0, 1.0)), None)
  assert float(loss) == pytest.approx(-by_hand()[2], rel=1e-5)
  assert float(metrics['loss'][1]) == 1
  rows = objective().predict(apply, {}, batch())
  assert np.asarray(rows['loss_count']).tolist() == [2, 1]
  assert float(rows['loss_sum'].sum()) == pytest.approx(
    -sum(by_hand()), rel=1e-5
  )


def test_log_probabilities_are_zero_at_padding():
  found = causal_lm.token_log_probabilities(
    jnp.asarray(LOGITS), jnp.asarray(IDS), jnp.asarray(MASK)
  )
  first, second, third = by_hand()
  expected = [[0, first, second], [third, 0, 0]]
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_no_gradient_reaches_a_later_token():
  model = models.build(
    'llama', 'tiny', kind='language_modeling', num_layers=1, vocab_size=11,
    hidden_size=8, num_heads=2, num_kv_heads=1, intermediate_size=8,
  )  # fmt: skip
  assert model.kind == 'causal_lm'
  apply = Apply(model)
  ids = jnp.array([[3, 5, 7, 9]])
  params = apply.init(jax.random.key(0), {'input_ids': ids})

  def second(table):
    flat = params | {
      'decoder': params['decoder'] | {'embeddings': {'word': table}}
    }
    return apply(flat, {'input_ids': ids})['logits'][0, 1].sum()

  table = params['decoder']['embeddings']['word']
  gradient = quick.jit(jax.grad(second))(table)['embedding']
  assert np.asarray(gradient.any(-1)).nonzero()[0].tolist() == [3, 5]


def test_an_encoder_is_refused():
  with pytest.raises(ValueError, match="'bert' with the head 'mlm' is none"):
    objective('bert', 'mlm')
