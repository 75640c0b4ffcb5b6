"""The record of a batch through a block that is compiled by itself."""

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.layers.context import BatchContext
from glue_jax.layers.spec import EncoderConfig
from glue_jax.models.stack import Encoder
from tests.conftest import jit

SIZES = dict(
  vocab_size=11, hidden_size=8, num_layers=2, num_heads=2, intermediate_size=16,
  max_positions=6, dropout=0.0, attention_dropout=0.0,
)  # fmt: skip


def test_what_is_fixed_stays_a_number_where_blocks_are_recomputed():
  ids = jnp.array([[1, 5, 6, 2, 0, 0], [1, 7, 8, 9, 2, 0]])
  batch = ids, ids != 0, jnp.zeros_like(ids)
  params = Encoder(EncoderConfig(**SIZES)).init(jax.random.key(0), *batch)

  def first(**changes):
    encoder = Encoder(EncoderConfig(**SIZES, **changes))

    def loss(params):
      hidden = encoder.apply(params, *batch)['last_hidden'][:, :1]
      return jnp.sum(jnp.sin(hidden)), hidden

    return jit(jax.grad(loss, has_aux=True))(params)

  grads, hidden = first()
  assert hidden.shape == (2, 1, 8)
  # A traced number of queries could not cut the positions.
  for changes in (dict(remat=True), dict(remat=True, stack='first_token')):
    ours, states = first(**changes)
    np.testing.assert_allclose(states, hidden, atol=1e-6)
    for a, b in zip(*map(jax.tree.leaves, (ours, grads)), strict=True):
      np.testing.assert_allclose(a, b, atol=1e-5)


def test_only_arrays_are_leaves():
  mask = jnp.ones((2, 3), bool)
  context = BatchContext(mask).replace(queries=1, count_padding=True)
  assert [leaf is mask for leaf in jax.tree.leaves(context)] == [True]
