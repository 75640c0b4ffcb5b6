"""The enhanced mask decoder: what it computes, and for which models."""

import jax
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.models.model import build
from tests import quick

SIZES = dict(
  vocab_size=40, hidden_size=16, intermediate_size=32, num_layers=2,
  max_positions=8, dropout=0.0, attention_dropout=0.0,
)  # fmt: skip
BATCH = {
  'input_ids': np.arange(1, 17, dtype=np.int32).reshape(2, 8),
  'attention_mask': np.array([[1] * 8, [1] * 5 + [0] * 3], np.int32),
}
TABLE = 'encoder/positions/absolute/embedding'


def model(kind='mlm', **changes):
  sizes = SIZES | dict(stack='mask_decoder') | changes
  return build('deberta_v2', 'tiny', kind=kind, **sizes)


def moved(params, shift):
  """The leaves with the rows of absolute positions moved around."""
  flat = tree.flatten(params)
  flat[TABLE] = np.roll(flat[TABLE], shift, axis=0)
  return tree.unflatten(flat)


def test_positions_enter_before_the_last_block_only():
  ends = model()
  params = ends.init(jax.random.key(0), BATCH)['params']
  run = quick.jit(lambda p: ends.apply({'params': p}, BATCH))
  here, there = run(params), run(moved(params, 1))
  assert tree.flatten(params)[TABLE].shape == (8, 16)
  for before, after in zip(here['hidden_states'][:2], there['hidden_states']):
    np.testing.assert_array_equal(before, after)
  assert np.abs(here['logits'] - there['logits']).max() > 1e-3
  # Padding says nothing, on which the mask has the last word twice.
  padded = dict(BATCH, input_ids=np.where(BATCH['attention_mask'], 7, 9))
  other = dict(BATCH, input_ids=np.where(BATCH['attention_mask'], 7, 3))
  run = quick.jit(lambda b: ends.apply({'params': params}, b)['logits'])
  real = BATCH['attention_mask'] > 0
  np.testing.assert_array_equal(run(padded)[real], run(other)[real])


def test_other_heads_of_the_same_weights_read_the_plain_stack():
  tuned = model('classification', num_outputs=2)
  assert tuned.config.stack == 'plain'
  shapes = jax.eval_shape(tuned.init, jax.random.key(0), BATCH)['params']
  assert TABLE not in tree.flatten(shapes)


@pytest.mark.parametrize(
  'changes', [dict(position_table=True), dict(mixer='attention')]
)
def test_models_that_know_positions_otherwise_are_refused(changes):
  with pytest.raises(ValueError, match="give model.stack='plain'"):
    model(**changes)
