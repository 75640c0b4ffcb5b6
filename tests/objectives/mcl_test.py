"""Course learning: ELECTRA where nothing is added, and what is refused."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from configs.pretrain import mcl as recipe
from glue_jax import tree
from glue_jax.config import config as config_lib
from glue_jax.merging import sources
from glue_jax.models import model as models
from glue_jax.objectives import mcl, rtd
from glue_jax.plugs import Apply
from glue_jax.training import runs
from tests import quick
from tests.conftest import tiny_config

LENGTH, MASK = 13, 1
PLAIN = recipe.LEFT_OUT['rtd']


def context(lengths=(LENGTH,), tokenizer=(), **changes):
  model = models.build(
    'electra', 'tiny', 'replaced_tokens', hidden_size=12, num_layers=2,
    num_heads=2, intermediate_size=12, vocab_size=20, max_positions=15,
    embedding_size=None, **changes,
  )  # fmt: skip
  words = dict(mask_id=MASK, pad_id=0, vocab_size=20) | dict(tokenizer)
  return SimpleNamespace(
    model=model, tokenizer=SimpleNamespace(**words), lengths=lengths
  )


def batch():
  place = np.arange(LENGTH)
  lengths = np.array([13, 8, 2, 13])[:, None]
  inner = (place > 0) & (place < lengths - 1)
  return {
    'input_ids': jnp.where(inner, 3 + place, jnp.where(place < lengths, 2, 0)),
    'attention_mask': jnp.asarray(place < lengths, jnp.int32),
    'word_ids': jnp.where(inner, place, -1),
    'weight': jnp.array([1.0, 1.0, 1.0, 0.0]),
  }


def begun(objective, model):
  """(bound model, parameters) with the objective's generator."""
  beside = objective.method.companions[rtd.GENERATOR].apply
  own = Apply(model).init(jax.random.key(0), batch())
  other = beside.init(jax.random.key(1), batch())
  params = objective.method.surgery(None, own | {rtd.GENERATOR: other})
  return Apply(model, companions={rtd.GENERATOR: beside}), params


def gradient(objective, apply, params, rows):
  """(gradient, (loss, metrics))."""

  def run(params):
    value, metrics = objective.loss(apply, params, rows, jax.random.key(2))
    return value, (value, metrics)

  return quick.jit(jax.grad(run, has_aux=True))(params)


def test_without_the_other_courses_the_step_is_electras(monkeypatch):
  ctx = context()
  ours = mcl.make(ctx, generator_layers=1, **PLAIN)
  monkeypatch.setattr(
    rtd, 'generator_config', lambda config, _: mcl.generator_config(config, 1)
  )
  theirs = rtd.make(ctx)
  apply, params = begun(ours, ctx.model)
  found, (value, metrics) = gradient(ours, apply, params, batch())
  expected, (total, seen) = gradient(theirs, apply, params, batch())
  np.testing.assert_allclose(value, total, rtol=1e-6)
  assert metrics['rtd_loss'] == seen['discriminator_loss']
  assert metrics['positive'] == seen['replaced']
  expected = tree.flatten(expected)
  for name, x in tree.flatten(found).items():
    close = 1e-5 * np.abs(expected[name]).max() + 1e-7
    np.testing.assert_allclose(x, expected[name], atol=close, err_msg=name)


def test_empty_notebooks_add_nothing():
  """Of rows without a token that may be spoilt."""
  ctx = context()
  objective = mcl.make(ctx, generator_layers=1)
  apply, params = begun(objective, ctx.model)
  rows = batch() | {'word_ids': jnp.full((4, LENGTH), -1)}
  found, (value, metrics) = gradient(objective, apply, params, rows)
  empty = {n for n, (total, count) in metrics.items() if not count}
  assert empty == {
    'mlm_loss', 'slm_loss', 're_mlm_loss', 're_slm_loss', 're_rtd_loss',
    're_std_loss',
  }  # fmt: skip
  assert all(metrics[name][0] == 0 for name in empty)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(found))
  parts = [metrics[n][0] / metrics[n][1] for n in mcl.JUDGED]
  np.testing.assert_allclose(value, 50 * sum(parts), rtol=1e-6)
  # The generator learns nothing by what it has inserted.
  assert not any(x.any() for x in jax.tree.leaves(found[rtd.GENERATOR]))
  # 2, 1 and 1 of 13, 8 and 2 tokens.
  assert metrics['positive'] == (4, 3 * 23 + 4)


@pytest.mark.parametrize(
  'changes, arguments, message',
  [
    (dict(tokenizer=dict(mask_id=None)), {}, r'\[MASK\]'),
    ({}, dict(generator_layers=3), 'more than the 2 layers'),
    ({}, dict(replaced=0.0, swapped=0.0), 'teach the generator nothing'),
    (
      dict(lengths=(8, 14)),
      {},
      '14 tokens have 17 .* 15 positions; give data.max_length=13',
    ),
    (dict(mixer='fourier'), {}, 'padding changes the result'),
  ],
)
def test_what_cannot_be_is_refused(changes, arguments, message):
  with pytest.raises(ValueError, match=message):
    mcl.make(context(**changes), **dict(generator_layers=1) | arguments)


def test_what_has_room_without_insertions_is_not_refused():
  mcl.make(context(lengths=(15,)), generator_layers=1, inserted=0.0)


def test_a_model_without_generator_or_its_head_is_refused():
  objective = mcl.make(context(), generator_layers=1)
  with pytest.raises(ValueError, match='keep_generator=True'):
    objective.predict(None, {'encoder': {}}, batch())
  ctx = SimpleNamespace(model=SimpleNamespace(kind='mlm'))
  with pytest.raises(ValueError, match="model.head='replaced_tokens'"):
    mcl.make(ctx)


def test_courses_from_one_start_give_models_of_one_form(tmp_path):
  """Through the loop; one is then tuned on a task."""
  rng = np.random.default_rng(0)
  lines = [' '.join(rng.choice(list('abcdefgh'), 14)) for _ in range(64)]
  text = tmp_path / 'text.txt'
  text.write_text('\n'.join(lines))
  data = dict(
    files=dict(train=str(text), validation=str(text)), tokenizer='train',
    vocab_size=60, max_length=16, buckets=(16,), batch_size=16,
  )  # fmt: skip
  model = dict(
    preset='tiny', hidden_size=16, intermediate_size=32, num_layers=1,
    max_positions=19, dtype='float32',
  )  # fmt: skip
  small = dict(
    data=data, model=model, objective=dict(generator_layers=1),
    optimizer=dict(warmup=1), train=dict(steps=2, eval_every=2),
  )  # fmt: skip
  alone = dict(recipe.get_config('rte,rtd').stages)['pretrain']
  runs.run(config_lib.override(alone, small), tmp_path / 'rtd')
  first = dict(recipe.get_config('rte').stages)['pretrain']
  first = config_lib.override(first, small)
  tuned = config_lib.plain(tiny_config())
  del tuned['stages']
  tuned['model'] = dict(weights='stage:pretrain', fresh=('head/.*',))
  tuned['data'] |= dict(tokenizer='stage:pretrain')
  tuned['train'] = dict(steps=2, eval_every=2)
  stages = [('pretrain', first), ('finetune', tuned)]
  runs.run(ml_collections.ConfigDict(dict(stages=stages)), tmp_path / 'w')
  home = tmp_path / 'w/pretrain'
  found = json.loads((home / 'result.json').read_text())
  found = found['metrics']['validation']
  assert 0.1 < found['positive'] < 0.2 and found['slm_loss'] > 1
  # A soup takes both: no generator, the same leaves.
  group = sources.open_group(None, [str(tmp_path / 'rtd'), str(home)], ())
  assert {name.split('/')[0] for name in group.names} == {'encoder', 'head'}
  assert 'encoder/positions/embedding' in group.names
