"""LoRA against the reference library, on a vector that it wrote.

The file holds a random BERT classifier with trained factors on query and value
of every layer: logits, loss and gradients of the mean cross-entropy.
"""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.layers.spec import EncoderConfig
from glue_jax.methods import lora as method
from glue_jax.models import names
from glue_jax.models.model import build, shapes
from glue_jax.objectives.task import cross_entropy
from glue_jax.peft import lora
from glue_jax.plugs import Apply
from glue_jax.training.compose import add_leaves
from tests.conftest import ROOT

FILE = ROOT / 'tests/golden_data/peft-baselines/tiny_bert_h8_l1.npz'
HF = 'bert.encoder.layer.{}.attention.self.{}.lora_{}.weight'


@pytest.fixture(scope='module')
def arrays():
  return dict(np.load(FILE))


@pytest.fixture(scope='module')
def plain(arrays):
  """The classifier and its parameters, from the arrays' own shapes."""
  shape = lambda name: arrays[f'w/{name}.weight'].shape
  layers = sum('attention.self.query.weight' in name for name in arrays)
  vocab, width = shape('bert.embeddings.word_embeddings')
  config = EncoderConfig(
    vocab_size=vocab,
    hidden_size=width,
    num_layers=layers,
    num_heads=int(arrays['num_heads']),
    intermediate_size=shape('bert.encoder.layer.0.intermediate.dense')[0],
    max_positions=shape('bert.embeddings.position_embeddings')[0],
    type_vocab_size=shape('bert.embeddings.token_type_embeddings')[0],
  )
  classes = shape('classifier')[0]
  model = build(
    'bert', config=config, kind='classification', num_outputs=classes
  )
  flat = {}
  for name, target in names.targets(model, shapes(model)).items():
    value = arrays[f'w/{target.name}']
    flat[name] = jnp.asarray(value.T if target.transpose else value)
  return Apply(model), tree.unflatten(flat)


@pytest.fixture(scope='module')
def tuned(arrays, plain):
  """The same with the trained factors and head: (Apply, params, Method)."""
  apply, params = plain
  rank, alpha = int(arrays['lora_r']), float(arrays['lora_alpha'])
  made = method.make(None, rank=rank, alpha=alpha)
  params, leaves = add_leaves(
    jax.random.key(0), params, apply, [made], batch(arrays)
  )
  flat = tree.flatten(params)
  for name in leaves.owners:
    _, layer, _, site, leaf = name.split('/')
    key = HF.format(layer.removeprefix('layer_'), site, leaf[-1].upper())
    flat[name] = jnp.asarray(arrays[f'lora/p/{key}'].T)
  head = 'lora/p/classifier.modules_to_save'
  flat['head/out/kernel'] = jnp.asarray(arrays[f'{head}.weight'].T)
  flat['head/out/bias'] = jnp.asarray(arrays[f'{head}.bias'])
  return apply.replace(plugs=made.plugs), tree.unflatten(flat), made


def batch(arrays):
  fields = ('input_ids', 'attention_mask', 'token_type_ids')
  return {field: arrays[field].astype(np.int32) for field in fields}


def test_fresh_factors_are_the_identity(arrays, plain, tuned):
  apply, params = plain
  made = tuned[2]
  fresh, _ = add_leaves(jax.random.key(0), params, apply, [made], batch(arrays))
  ours = apply.replace(plugs=made.plugs)(fresh, batch(arrays))['logits']
  np.testing.assert_allclose(ours, arrays['lora/init_logits'], atol=2e-5)
  np.testing.assert_allclose(ours, arrays['base/logits'], atol=2e-5)


def test_logits_and_loss(arrays, tuned):
  apply, params, _ = tuned
  logits = apply(params, batch(arrays))['logits']
  np.testing.assert_allclose(logits, arrays['lora/logits'], atol=2e-5)
  loss = cross_entropy(logits, arrays['labels']).mean()
  np.testing.assert_allclose(loss, arrays['lora/loss'], atol=2e-5)


def test_gradients(arrays, tuned):
  apply, params, _ = tuned

  def loss(params):
    logits = apply(params, batch(arrays))['logits']
    return cross_entropy(logits, arrays['labels']).mean()

  found = tree.flatten(jax.jit(jax.grad(loss))(params))
  for name, ours in found.items():
    if '/lora_' in name:
      _, layer, _, site, leaf = name.split('/')
      key = HF.format(layer.removeprefix('layer_'), site, leaf[-1].upper())
      theirs = arrays[f'lora/g/{key}'].T
      np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_merged_is_the_same_model(arrays, plain, tuned):
  _, params, made = tuned
  ours = plain[0](made.export(params), batch(arrays))['logits']
  np.testing.assert_allclose(ours, arrays['lora/logits'], atol=2e-5)


def test_factors_start_as_the_libraries_draw_them():
  draws = np.asarray(lora.initial_a(jax.random.key(0), (400, 50)))
  assert abs(draws).max() <= 1 / 20
  assert draws.std() == pytest.approx(1 / 20 / 3**0.5, rel=0.02)


def test_rank_stabilised_scale():
  assert lora.scale(16, 8.0, rank_stabilised=False) == 0.5
  assert lora.scale(16, 8.0, rank_stabilised=True) == 2.0


def test_factors_of_a_table_start_as_nothing_and_merge(arrays, plain):
  apply, params = plain
  ctx = types.SimpleNamespace(model=apply.model)
  made = method.make(ctx, rank=2, alpha=6.0, tables=['word'])
  rows = batch(arrays)
  params, leaves = add_leaves(jax.random.key(0), params, apply, [made], rows)
  tuned = apply.replace(plugs=made.plugs)
  ours = tuned(params, rows)['logits']
  np.testing.assert_allclose(ours, arrays['base/logits'], atol=2e-5)
  flat = tree.flatten(params)
  name = 'encoder/embeddings/word/lora_a'
  assert name in leaves.owners
  flat[name] = 0.1 * jax.random.normal(jax.random.key(1), flat[name].shape)
  params = tree.unflatten(flat)
  moved = tuned(params, rows)['logits']
  assert np.abs(moved - ours).max() > 1e-2
  merged = apply(made.export(params), rows)['logits']
  np.testing.assert_allclose(merged, moved, atol=2e-5)


def test_the_word_table_of_a_tied_decoder_is_refused(plain):
  model = plain[0].model.copy(kind='mlm')
  ctx = types.SimpleNamespace(model=model)
  with pytest.raises(ValueError, match="'word' is the decoder"):
    method.make(ctx, tables=['word'])


def factors(plain, arrays, **settings):
  """{path: rank} of the layers with factors, and the Method."""
  model = plain[0].model
  made = method.make(types.SimpleNamespace(model=model), **settings)

  def started(params):
    return add_leaves(
      jax.random.key(0), params, plain[0], [made], batch(arrays)
    )[0]

  flat = tree.flatten(jax.eval_shape(started, plain[1]))
  ranks = {
    name.removesuffix('/lora_a'): leaf.shape[1]
    for name, leaf in flat.items()
    if name.endswith('/lora_a')
  }
  return ranks, made


def test_all_linear_is_every_linear_layer_but_the_heads(plain, arrays):
  linear = {
    name.removesuffix('/kernel')
    for name, leaf in tree.flatten(plain[1]).items()
    if name.endswith('/kernel') and not name.startswith('head/')
  }
  ranks, _ = factors(plain, arrays, targets='all-linear', rank=1)
  assert set(ranks) == linear and 'pooler/dense' in linear
  ranks, _ = factors(plain, arrays, targets='all-linear', rank=1, layers=[0])
  assert set(ranks) == {n for n in linear if n.startswith('encoder/layer_0/')}


def test_ranks_and_scales_by_layer(plain, arrays):
  site = 'encoder/layer_0/mixer/query'
  targets = ['query', 'value', 'pooler/dense']
  patterns = dict(
    rank_pattern={'query': 3}, alpha_pattern={r'layer_0/.*query': 6.0}
  )
  ranks, made = factors(plain, arrays, targets=targets, rank=2, **patterns)
  values = {path for path in ranks if path.endswith('/value')}
  assert ranks == {site: 3, 'pooler/dense': 2} | dict.fromkeys(values, 2)
  params = {'pooler/dense': (2, 4.0), site: (3, 2.0)}  # alpha / r
  for path, (rank, scale) in params.items():
    leaves = {
      f'{path}/kernel': jnp.zeros((2, 2)),
      f'{path}/lora_a': jnp.ones((2, rank)),
      f'{path}/lora_b': jnp.ones((rank, 2)),
    }
    merged = tree.flatten(made.export(tree.unflatten(leaves)))
    np.testing.assert_allclose(merged[f'{path}/kernel'], scale * rank)


@pytest.mark.parametrize(
  'settings,message',
  [
    (dict(layers=[7]), r'layers=\[7\]: expected some of the blocks 0 to 0'),
    (dict(rank_pattern={'key': 2}), "rank_pattern: 'key' names none of the"),
    (dict(alpha_pattern={'x': 2.0}), "alpha_pattern: 'x' names none of the"),
    (dict(dora=True, tables=['word']), 'leave out one of dora=True and'),
  ],
)
def test_what_names_no_layer_is_refused(plain, arrays, settings, message):
  with pytest.raises(ValueError, match=message):
    factors(plain, arrays, rank=2, **settings)
