"""Attention: probabilities, padding, and its modules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.layers.context import BatchContext
from glue_jax.layers.mixers.attention import Core, Mixer
from glue_jax.layers.spec import EncoderConfig

CONFIG = EncoderConfig(
  hidden_size=8, num_heads=2, dropout=0.0, attention_dropout=0.0
)


def heads(seed=0, length=5):
  rng = np.random.default_rng(seed)
  return rng.normal(size=(3, 2, length, 2, 4)).astype('float32')


def bias_of(mask):
  floor = jnp.finfo(jnp.float32).min
  return jnp.where(jnp.asarray(mask), 0.0, floor)[:, None, None, :]


def probabilities(query, key, value, bias):
  _, state = Core(CONFIG, fused=False).apply(
    {}, query, key, value, bias, False, capture_intermediates=True
  )
  return state['intermediates']['softmax']['__call__'][0]


@pytest.mark.parametrize('fused', [True, False])
def test_equals_the_definition(fused):
  query, key, value = heads()
  mask = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
  core = Core(CONFIG, fused)
  ours = core.apply({}, query, key, value, bias_of(mask), False)
  for b in range(2):
    for h in range(2):
      n = mask[b].sum()
      scores = query[b, :, h] @ key[b, :n, h].T / 2
      weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
      np.testing.assert_allclose(
        ours[b, :, h], weights @ value[b, :n, h], atol=1e-5
      )


def test_rows_sum_to_one_and_padding_gets_nothing():
  mask = np.array([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0]])
  probs = probabilities(*heads(), bias_of(mask))
  np.testing.assert_allclose(probs.sum(-1), 1, atol=1e-6)
  assert np.all(np.where(mask[:, None, None, :] == 0, probs, 0) == 0)


def test_a_row_of_nothing_but_padding_is_uniform_and_its_gradient_finite():
  mask = np.array([[1, 1, 1, 1, 1], [0, 0, 0, 0, 0]])
  query, key, value = heads()
  probs = probabilities(query, key, value, bias_of(mask))
  np.testing.assert_allclose(probs[1], 0.2, atol=1e-6)

  def total(query, fused):
    core = Core(CONFIG, fused)
    return core.apply({}, query, key, value, bias_of(mask), False).sum()

  for fused in (True, False):
    assert np.isfinite(jax.grad(total)(query, fused)).all()


@pytest.mark.parametrize('fused', [True, False])
def test_attention_dropout_changes_training_only(fused):
  config = EncoderConfig(hidden_size=8, num_heads=2, attention_dropout=0.5)
  arguments = (*heads(), bias_of(np.ones((2, 5), bool)))
  quiet = Core(config, fused).apply({}, *arguments, False)
  loud = Core(config, fused).apply(
    {}, *arguments, True, rngs={'dropout': jax.random.key(0)}
  )
  same = Core(CONFIG, fused).apply({}, *arguments, True)
  np.testing.assert_array_equal(quiet, same)
  assert np.abs(quiet - loud).max() > 0.01


def test_heads_must_divide_the_width():
  mixer = Mixer(EncoderConfig(hidden_size=8, num_heads=3))
  with pytest.raises(ValueError, match='num_heads=3 does not divide'):
    mixer.init(
      jax.random.key(0), jnp.zeros((1, 2, 8)), BatchContext(None), False
    )
