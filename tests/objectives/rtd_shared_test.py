"""Shared tables: whose gradient goes where, what is left, what is refused."""

import dataclasses
import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.models import model as models
from glue_jax.objectives import rtd_shared
from glue_jax.plugs import Apply
from glue_jax.training import compose, runs
from glue_jax.weights import huggingface, saved_model
from tests import quick
from tests.conftest import tiny_config

MASK = 1
WORD = 'encoder/embeddings/word/embedding'
SIZES = dict(
  vocab_size=30, hidden_size=16, num_layers=2, num_heads=2,
  intermediate_size=32, max_positions=12, dropout=0.0, attention_dropout=0.0,
)  # fmt: skip


def context(name='deberta_v2', kind='replaced_tokens', mask_id=MASK):
  model = models.build(name, 'tiny', kind=kind, **SIZES)
  return SimpleNamespace(
    model=model, tokenizer=SimpleNamespace(mask_id=mask_id, vocab_size=30)
  )


def batch():
  place = np.arange(12)
  lengths = np.array([[12], [7]])
  inner = (place > 0) & (place < lengths - 1)
  return {
    'input_ids': jnp.where(inner, 5 + place, jnp.where(place < lengths, 2, 0)),
    'attention_mask': jnp.asarray(place < lengths, jnp.int32),
    'word_ids': jnp.where(inner, place, -1),
    'weight': jnp.ones(2),
  }


@pytest.fixture(scope='module', params=rtd_shared.SHARINGS)
def made(request):
  """(way to share, objective, model, the whole tree as a run begins)."""
  ctx = context()
  objective = rtd_shared.make(ctx, sharing=request.param)
  beside = objective.method.companions
  apply = Apply(ctx.model, companions={n: c.apply for n, c in beside.items()})
  start = {
    'generator': beside['generator'].apply.init(jax.random.key(1), batch()),
    **ctx.model.init(jax.random.key(0), batch())['params'],
  }
  params = objective.method.surgery(None, start)
  return request.param, objective, apply, params, start


def test_the_tables_begin_as_the_models_own(made):
  sharing, objective, _, params, start = made
  table = start['encoder']['embeddings']['word']['embedding']
  whole = tree.flatten(objective.method.reparam(params, 0, None))
  for name in (WORD, f'generator/{WORD}'):
    np.testing.assert_array_equal(whole[name], table)
  own = tree.flatten(params)
  assert (f'generator/{WORD}' in own) == (sharing != 'es')
  assert bool(own[WORD].any()) == (sharing != 'gdes')


def test_the_merged_tables_are_the_discriminators_bit_for_bit(made):
  _, objective, apply, params, _ = made
  method = objective.method
  table = params['encoder']['embeddings']['word']['embedding']
  delta = jnp.sin(jnp.arange(table.size, dtype=jnp.float32))
  flat = tree.flatten(params)
  flat[WORD] += 0.01 * delta.reshape(table.shape)
  params = tree.unflatten(flat)

  @quick.jit
  def trained(params):
    whole = method.reparam(params, 0, None)
    return apply(whole, batch())['logits']

  plain = compose.compose([method]).export(method.reparam(params, 0, None))
  assert 'generator' not in plain
  exported = quick.jit(lambda p: apply(p, batch())['logits'])(plain)
  np.testing.assert_array_equal(exported, trained(params))


def test_which_table_the_discriminators_loss_moves(made):
  sharing, objective, apply, params, _ = made
  method = objective.method

  def verdict(params):
    rng = jax.random.key(0)
    whole = method.reparam(params, 0, None)
    generate, discriminate = (
      objective.phases[name].loss for name in ('generator', 'discriminator')
    )
    _, _, carry = generate(apply, whole, batch(), rng)
    return discriminate(apply, whole, batch() | carry, rng)[0]

  found = tree.flatten(quick.jit(jax.grad(verdict))(params))
  assert np.abs(found[WORD]).max() > 0
  others = {n: x for n, x in found.items() if n.startswith('generator/')}
  assert others and not any(np.any(x) for x in others.values())
  # So under es alone it reaches the generator's table, which is the same leaf.
  moved = tree.match(objective.phases['generator'].learns, found)
  assert (WORD in moved) == (sharing == 'es')


def test_the_generator_is_half_as_deep_and_as_wide():
  large = models.family('deberta_v2').PRESETS['v3_large']
  small = rtd_shared.generator_config(large)
  assert (small.num_layers, small.hidden_size) == (12, 1024)
  assert small.stack == 'mask_decoder'
  # With positions in the embeddings they need not come at the end.
  absolute = dataclasses.replace(large, position_table=True)
  assert rtd_shared.generator_config(absolute).stack == 'plain'
  wide = models.family('deberta_v2').PRESETS['v2_xlarge']
  cut = dict(rtd_shared.generator_config(wide, 3).per_layer)
  assert cut == {'block': ('convolved', 'post', 'post')}


@pytest.mark.parametrize(
  'given, arguments, message',
  [
    (dict(kind='mlm'), {}, "give model.head='replaced_tokens'"),
    (dict(mask_id=None), {}, r'\[MASK\]'),
    ({}, dict(generator_layers=3), 'exceeds the 2 layers'),
  ],
)
def test_what_cannot_be_is_refused(given, arguments, message):
  with pytest.raises(ValueError, match=message):
    rtd_shared.make(context(**given), **arguments)


def test_a_model_without_its_generator_is_not_evaluated():
  objective = rtd_shared.make(context('electra'))
  with pytest.raises(ValueError, match='keep_generator=True'):
    objective.predict(None, {'encoder': {}}, batch())


def test_the_finished_model_is_the_plain_discriminator(tmp_path):
  """Through the loop, two rates; then the model alone on a task."""
  rng = np.random.default_rng(0)
  lines = [' '.join(rng.choice(list('abcdefgh'), 14)) for _ in range(64)]
  (tmp_path / 'text.txt').write_text('\n'.join(lines))
  text = str(tmp_path / 'text.txt')
  tuned = tiny_config().to_dict()
  del tuned['stages']
  first = dict(
    tuned,
    task=dict(name='corpus', kind='language_modeling'),
    data=dict(
      files=dict(train=text, validation=text), tokenizer='train',
      vocab_size=60, max_length=16, buckets=(16,), batch_size=16,
    ),
    model=dict(name='deberta_v2', preset='tiny', head='replaced_tokens',
               hidden_size=16, intermediate_size=32, max_positions=16),
    objective=dict(name='rtd_shared'),
    optimizer=dict(lr=1e-3, phases=dict(discriminator=dict(lr=2e-3))),
    train=dict(steps=4, eval_every=2),
  )  # fmt: skip
  tuned['model'] = dict(weights='stage:pretrain', fresh=('head/.*',))
  tuned['data'] |= dict(tokenizer='stage:pretrain')
  tuned['train'] = dict(steps=2, eval_every=2)
  stages = [('pretrain', first), ('finetune', tuned)]
  runs.run(ml_collections.ConfigDict(dict(stages=stages)), tmp_path / 'w')
  found = json.loads((tmp_path / 'w/pretrain/result.json').read_text())
  found = found['metrics']['validation']
  assert {'sensitivity', 'specificity', 'generator_loss'} <= found.keys()
  plain, params = saved_model.load(tmp_path / 'w/pretrain')
  assert 'generator' not in params
  module, tuned = saved_model.load(tmp_path / 'w/finetune')
  assert module.kind == 'classification' and 'generator' not in tuned
  of_library(tmp_path, plain, params)


def of_library(folder, model, params):
  """The same hidden states from `transformers`, which has no such head."""
  torch = pytest.importorskip('torch')
  transformers = pytest.importorskip('transformers')
  huggingface.save_hf(folder / 'hf', model, params)
  given = batch()
  ours = model.apply({'params': params}, given)['last_hidden']
  for name in ('DebertaV2Model', 'DebertaV2ForSequenceClassification'):
    peer = getattr(transformers, name).from_pretrained(folder / 'hf').eval()
    with torch.no_grad():
      theirs = getattr(peer, 'deberta', peer)(
        input_ids=torch.tensor(np.array(given['input_ids'])),
        attention_mask=torch.tensor(np.array(given['attention_mask'])),
      ).last_hidden_state
    real = np.asarray(given['attention_mask']) > 0
    np.testing.assert_allclose(ours[real], theirs.numpy()[real], atol=2e-5)
