"""A decoder of pre-training: without its additions, and what it leaves."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from configs.pretrain import drbert
from glue_jax import tree
from glue_jax.config import config as config_lib
from glue_jax.inference import open_run
from glue_jax.models import model as models
from glue_jax.objectives import mlm, mlm_decoder
from glue_jax.plugs import Apply
from glue_jax.training import runs
from glue_jax.weights import saved_model
from tests import quick
from tests.conftest import tiny_config

LENGTH, MASK = 12, 1


def context(kind='mlm', family='bert', **changes):
  model = models.build(
    family, 'tiny', kind, num_outputs=2, hidden_size=8, num_layers=1,
    num_heads=2, intermediate_size=8, vocab_size=20, max_positions=LENGTH,
  )  # fmt: skip
  tokenizer = SimpleNamespace(mask_id=MASK, vocab_size=20)
  return SimpleNamespace(**dict(model=model, tokenizer=tokenizer) | changes)


def batch(rows=4):
  place = np.arange(LENGTH)
  lengths = np.where(np.arange(rows) % 2, LENGTH, LENGTH // 2)[:, None]
  inner = (place > 0) & (place < lengths - 1)
  return {
    'input_ids': jnp.where(inner, 3 + place, jnp.where(place < lengths, 2, 0)),
    'attention_mask': jnp.asarray(place < lengths, jnp.int32),
    'word_ids': jnp.where(inner, place, -1),
    'weight': jnp.ones(rows),
  }


@pytest.fixture(scope='module')
def begun():
  """(bound model, parameters) with a decoder of two blocks."""
  ctx = context()
  objective = mlm_decoder.make(ctx)
  beside = objective.method.companions[mlm_decoder.DECODER].apply
  own = Apply(ctx.model).init(jax.random.key(0), batch())
  decoder = beside.init(jax.random.key(1), batch())
  apply = Apply(ctx.model, companions={mlm_decoder.DECODER: beside})
  return apply, own | {mlm_decoder.DECODER: decoder}


def gradient(objective, begun):
  """(loss, gradient) of one batch."""
  apply, params = begun

  def run(params):
    return objective.loss(apply, params, batch(), jax.random.key(3))[0]

  return quick.jit(jax.value_and_grad(run))(params)


def test_all_outputs_from_the_encoder_are_bert(begun):
  """Dropout is on: its draws are those of plain masked words."""
  loss, found = gradient(mlm_decoder.make(context(), mix=1.0), begun)
  expected, plain = gradient(mlm.make(context(), whole_word=False), begun)
  assert loss == expected
  decoder = found.pop(mlm_decoder.DECODER)
  assert not any(x.any() for x in jax.tree.leaves(decoder))
  plain.pop(mlm_decoder.DECODER)
  jax.tree.map(np.testing.assert_array_equal, found, plain)


def test_with_all_keys_seen_there_is_no_unmasking():
  luck = jax.random.uniform(jax.random.key(0), (4, LENGTH))
  asked = batch() | {
    'positions': jnp.array([[1, 3, 0]] * 4),
    'labels': jnp.array([[5, 6, -100]] * 4),
  }
  real = np.asarray(asked['attention_mask']) > 0
  for layers, first in ((3, 1.0), (1, 0.0), (1, None)):
    seen = mlm_decoder.visible_keys(luck, asked, layers, first)
    np.testing.assert_array_equal(seen, [real] * layers)
  seen = np.asarray(mlm_decoder.visible_keys(luck, asked, 3, 0.5))
  chosen = np.isin(np.arange(LENGTH), [1, 3])
  np.testing.assert_array_equal(seen[0], real & (~chosen | (luck < 0.5)))
  np.testing.assert_array_equal(seen[1:], [real] * 2)
  grows = np.asarray(mlm_decoder.visible_keys(luck, asked, 3, None))
  assert (grows[0] <= grows[1]).all() and (grows[1] <= grows[2]).all()
  np.testing.assert_array_equal(grows[0], real & (~chosen | (luck < 1 / 3)))
  # A row of which everything is chosen keeps its first token.
  all_chosen = asked | {
    'positions': jnp.array([range(LENGTH)] * 4),
    'labels': jnp.ones((4, LENGTH), int),
  }
  seen = mlm_decoder.visible_keys(luck, all_chosen, 2, 0.0)
  assert seen[0].sum(-1).tolist() == [1] * 4


def test_hidden_keys_change_nothing(begun):
  """What a block doesn't attend to has exactly no weight in it."""
  blocks = begun[0].companions[mlm_decoder.DECODER]
  rows = batch()
  rng = np.random.default_rng(0)
  states = jnp.asarray(rng.normal(size=(4, LENGTH, 8)), jnp.float32)
  seen = np.asarray(rows['attention_mask']) > 0
  hidden = seen.copy()
  hidden[:, 4] = False

  def run(states):
    given = rows | {
      'last_hidden': states,
      'visible': jnp.asarray(np.stack([hidden, seen])),
    }
    return blocks(begun[1][mlm_decoder.DECODER], given)['hidden_states'][0]

  other = run(states.at[:, 4].add(1.0))
  kept = np.arange(LENGTH) != 4
  np.testing.assert_array_equal(run(states)[:, kept], other[:, kept])


@pytest.mark.parametrize('unit', ['token', 'element', 'sequence', 'convex'])
def test_outputs_are_mixed_by_their_unit(unit):
  encoded, decoded = jnp.ones((40, 6, 5)), jnp.zeros((40, 6, 5))
  found = mlm_decoder.mixed(jax.random.key(0), encoded, decoded, 0.3, unit)
  found = np.asarray(found)
  assert abs(found.mean() - 0.3) < (0.2 if unit == 'sequence' else 0.05)
  spread = {
    'convex': found.std(),
    'sequence': found.std((1, 2)).max(),
    'token': found.std(2).max(),
  }
  if unit in spread:
    assert spread[unit] < 1e-6
  if unit != 'convex':
    assert set(np.unique(found)) == {0, 1}


@pytest.mark.parametrize(
  'changes, message',
  [
    (dict(kind='classification'), "model.head='mlm'"),
    (dict(family='gpt2', kind='causal_lm'), 'needs an encoder'),
    (dict(tokenizer=SimpleNamespace(mask_id=None)), r'\[MASK\]'),
  ],
)
def test_what_cannot_be_is_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    mlm_decoder.make(context(**changes))


def test_a_model_without_its_decoder_is_not_evaluated():
  objective = mlm_decoder.make(context())
  with pytest.raises(ValueError, match='keep_decoder=True'):
    objective.predict(None, {'encoder': {}}, batch())


def test_the_finished_model_is_bert_bit_for_bit(tmp_path):
  """Through the loop, with the decoder kept and without; then tuned."""
  rng = np.random.default_rng(0)
  lines = [' '.join(rng.choice(list('abcdefgh'), 14)) for _ in range(64)]
  text = tmp_path / 'text.txt'
  text.write_text('\n'.join(lines))
  data = dict(
    files=dict(train=str(text), validation=str(text)), tokenizer='train',
    vocab_size=60, max_length=16, buckets=(16,), batch_size=16,
  )  # fmt: skip
  sizes = dict(
    preset='tiny', hidden_size=16, intermediate_size=32, num_layers=1,
    max_positions=16, dtype='float32',
  )  # fmt: skip
  small = dict(
    data=data, model=sizes, optimizer=dict(warmup=1),
    train=dict(steps=2, eval_every=2),
  )  # fmt: skip
  first = dict(drbert.get_config('rte').stages)['pretrain']
  first = config_lib.override(first, small)
  kept = config_lib.override(first, dict(objective=dict(keep_decoder=True)))
  # A warm-up in steps is no hindrance to what opens a run.
  kept = config_lib.override(kept, dict(optimizer=dict(warmup=2)))
  first = config_lib.override(first, dict(optimizer=dict(warmup=2)))
  runs.run(kept, tmp_path / 'kept')
  tuned = config_lib.plain(tiny_config())
  del tuned['stages']
  tuned['model'] = dict(weights='stage:pretrain', fresh=('head/.*',))
  tuned['data'] |= dict(tokenizer='stage:pretrain')
  tuned['train'] = dict(steps=2, eval_every=2)
  stages = [('pretrain', first), ('finetune', tuned)]
  runs.run(ml_collections.ConfigDict(dict(stages=stages)), tmp_path / 'w')
  model, params = saved_model.load(tmp_path / 'w/pretrain')
  flat = tree.flatten(params)
  # BERT's leaves, no more, as they were trained beside the decoder.
  assert flat.keys() == models.shapes(model).keys()
  state = open_run.load_run(tmp_path / 'kept').host.state
  trained = tree.flatten(state.all_params())
  assert any(name.startswith('decoder/layer_1/') for name in trained)
  for name, value in flat.items():
    np.testing.assert_array_equal(value, trained[name], err_msg=name)
  found = json.loads((tmp_path / 'w/pretrain/result.json').read_text())
  assert found['metrics']['validation']['loss'] > 1
