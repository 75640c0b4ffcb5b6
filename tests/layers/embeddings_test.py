"""Embeddings: positions, padding rows, bad ids, lengths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.layers.context import BatchContext
from glue_jax.layers.embeddings.bert import Embeddings
from glue_jax.layers.embeddings.table import Table
from glue_jax.layers.norms.layer import LayerNorm
from glue_jax.layers.spec import EncoderConfig

SIZES = dict(
  vocab_size=11, hidden_size=6, max_positions=8, num_layers=1, dropout=0.0
)


def test_layer_norm_of_large_offsets_keeps_its_digits():
  x = 1e3 + np.random.default_rng(0).normal(size=(4, 32)).astype('float32')
  norm = LayerNorm(1e-12)
  out = norm.apply(norm.init(jax.random.key(0), x), x)
  centred = x.astype('float64') - x.astype('float64').mean(-1, keepdims=True)
  expected = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True))
  np.testing.assert_allclose(out, expected, atol=1e-4)


def test_the_padding_row_starts_at_zero_and_learns_only_as_decoder():
  table = Table(EncoderConfig(**SIZES), 5, 3, pad_id=2)
  ids = jnp.array([[0, 2, 4, 2]])
  params = table.init(jax.random.key(0), ids)
  np.testing.assert_array_equal(params['params']['embedding'][2], 0)
  looked_up = jax.grad(lambda p: table.apply(p, ids).sum())(params)
  used = looked_up['params']['embedding'].any(-1)
  np.testing.assert_array_equal(used, [True, False, False, False, True])
  attended = jax.grad(
    lambda p: table.apply(p, jnp.ones((1, 1, 3)), method='attend').sum()
  )(params)
  np.testing.assert_array_equal(attended['params']['embedding'], 1)


def test_an_id_beyond_the_table_is_not_a_number():
  table = Table(EncoderConfig(**SIZES), 5, 3)
  params = table.init(jax.random.key(0), jnp.array([[0]]))
  out = table.apply(params, jnp.array([[4, 5]]))
  assert np.isfinite(out[0, 0]).all() and np.isnan(out[0, 1]).all()


def test_roberta_positions_skip_padding():
  config = EncoderConfig(**SIZES, pad_id=1, position_offset=2)
  layer = Embeddings(config)
  ids, types = jnp.array([[5, 6, 1, 7, 1]]), jnp.zeros((1, 5), jnp.int32)
  context = BatchContext(ids != 1, token_type_ids=types)
  params = layer.init(jax.random.key(0), ids, context, False)

  def total(params):
    out = layer.apply(params, ids, context, False)
    return (out * jnp.arange(30.0).reshape(1, 5, 6)).sum()

  position = jax.grad(total)(params)['params']['position']['embedding']
  # Positions 2, 3 and 4 are used; padding's own, 1, gets no gradient.
  np.testing.assert_array_equal(position.any(-1).nonzero()[0], [2, 3, 4])


def test_a_length_beyond_the_positions_is_an_error():
  for offset, limit in ((0, 8), (2, 6)):
    config = EncoderConfig(**SIZES, pad_id=1, position_offset=offset)
    ids = jnp.zeros((1, 9), jnp.int32)
    with pytest.raises(ValueError, match=f'length 9 exceeds the {limit} pos'):
      context = BatchContext(ids != 1, token_type_ids=ids)
      Embeddings(config).init(jax.random.key(0), ids, context, False)
