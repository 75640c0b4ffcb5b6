"""Models: heads, padding, remat, bfloat16, mixed stacks, errors."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.models import model as models
from glue_jax.models import stack

FAMILIES = ('bert', 'roberta', 'electra', 'fnet', 'ponet')
# Options that make a family's own paths run in these tests.
OPTIONS = {
  'electra': dict(embedding_size=8),
  'ponet': dict(special_ids=(5, 6, 7, 8)),
}
TINY = dict(
  num_layers=1,
  vocab_size=30, hidden_size=16, num_heads=2, intermediate_size=24,
  max_positions=20,
)  # fmt: skip


def make(name='bert', kind='classification', **overrides):
  sizes = TINY | OPTIONS.get(name, {})
  num_outputs = 3 if kind.endswith('classification') else 0
  return models.build(
    name, 'tiny', kind=kind, num_outputs=num_outputs, **(sizes | overrides)
  )


def make_batch(model, lengths=(6, 3), length=6, seed=0):
  rng = np.random.default_rng(seed)
  ids = rng.integers(5, 30, (len(lengths), length)).astype('int32')
  mask = (np.arange(length) < np.array(lengths)[:, None]).astype('int32')
  ids = np.where(mask, ids, model.config.pad_id).astype('int32')
  types = np.where(mask, np.arange(length) > 2, 0).astype('int32')
  types = np.minimum(types, model.config.type_vocab_size - 1)
  return {'input_ids': ids, 'attention_mask': mask, 'token_type_ids': types}


def start(model, scale=0.16):
  """Parameters larger than fresh ones, so that differences show."""
  rng = np.random.default_rng(0)
  flat = {}
  for name, leaf in models.shapes(model).items():
    value = scale * rng.normal(size=leaf.shape)
    value += name.endswith('scale')
    flat[name] = value.astype('float32')
  return tree.unflatten(flat)


@functools.partial(jax.jit, static_argnums=0)
def forward(model, params, batch):
  return model.apply({'params': params}, batch)


SHAPES = {
  'encoder': {},
  'classification': {'logits': (2, 3)},
  'regression': {'logits': (2,)},
  'token_classification': {'logits': (2, 6, 3)},
  'span': {'start_logits': (2, 6), 'end_logits': (2, 6)},
  'mlm': {'logits': (2, 6, 30)},
  'sentence_structure': {
    'logits': (2, 6, 30),
    'structure_logits': (2, 3),
  },
}


@pytest.mark.parametrize('kind', SHAPES)
def test_heads_give_float32_logits_of_their_shape(kind):
  model = make(kind=kind, dtype='bfloat16')
  out = forward(model, start(model), make_batch(model))
  logits = {k: v for k, v in out.items() if 'logits' in k}
  assert {k: v.shape for k, v in logits.items()} == SHAPES[kind]
  assert all(v.dtype == jnp.float32 for v in logits.values())
  assert len(out['hidden_states']) == 2
  assert out['last_hidden'].dtype == jnp.bfloat16


@pytest.mark.parametrize('name', [*FAMILIES, 'hydra', 'comet'])
def test_the_structure_head_has_the_names_of_the_familys_own_mlm(name):
  tables = models.family(name)
  names = tables.HEAD_NAMES['sentence_structure']
  assert names.items() > tables.HEAD_NAMES['mlm'].items()


@pytest.mark.parametrize('name', FAMILIES)
def test_multiple_choice_scores_each_choice_alone(name):
  model = make(name, 'multiple_choice')
  params = start(model)
  flat = make_batch(model, (6, 5, 4, 6))
  batch = {k: v.reshape(2, 2, 6) for k, v in flat.items()}
  logits = forward(model, params, batch)['logits']
  assert logits.shape == (2, 2)
  one = {k: v[1:, :1] for k, v in batch.items()}
  alone = forward(model, params, one)['logits']
  np.testing.assert_allclose(logits[1, 0], alone[0, 0], atol=1e-5)


@pytest.mark.parametrize('name', ['bert', 'roberta', 'electra', 'ponet'])
def test_valid_outputs_do_not_depend_on_padding(name):
  model = make(name)
  params = start(model)
  short = make_batch(model, (6, 3), 6)
  wide = {
    k: np.pad(v, ((0, 0), (0, 5)), constant_values=model.config.pad_id)
    if k == 'input_ids'
    else np.pad(v, ((0, 0), (0, 5)))
    for k, v in short.items()
  }
  a = forward(model, params, short)
  b = forward(model, params, wide)
  np.testing.assert_allclose(a['logits'], b['logits'], atol=1e-5)
  valid = short['attention_mask'] == 1
  for x, y in zip(a['hidden_states'], b['hidden_states']):
    np.testing.assert_allclose(x[valid], y[:, :6][valid], atol=1e-5)


@pytest.mark.parametrize(
  'name,dtype',
  [('bert', 'float32'), ('bert', 'bfloat16'), ('ponet', 'bfloat16')],
)
def test_a_fully_padded_row_is_finite_with_its_gradient(name, dtype):
  model = make(name, dtype=dtype)
  batch = make_batch(model, (6, 0))

  def loss(params):
    logits = model.apply(
      {'params': params}, batch, train=True, rngs={'dropout': jax.random.key(1)}
    )['logits']
    return jnp.square(logits).sum()

  value, gradient = jax.jit(jax.value_and_grad(loss))(start(model))
  assert np.isfinite(value)
  bad = [
    n for n, g in tree.flatten(gradient).items() if not jnp.isfinite(g).all()
  ]
  assert not bad


@pytest.mark.parametrize('name', ['bert', 'fnet', 'ponet'])
def test_bfloat16_is_near_float32(name):
  exact, rough = make(name), make(name, dtype='bfloat16')
  params, batch = start(exact, 0.06), make_batch(exact)
  a = forward(exact, params, batch)
  b = forward(rough, params, batch)
  assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(start(rough)))
  valid = batch['attention_mask'] == 1
  last = np.asarray(b['last_hidden'], np.float32)
  np.testing.assert_allclose(a['last_hidden'][valid], last[valid], atol=0.1)
  assert np.abs(a['last_hidden'][valid] - last[valid]).max() > 1e-5


def test_remat_changes_neither_names_nor_values():
  plain, remat = make(num_layers=2), make(num_layers=2, remat=True)
  params, batch = start(plain), make_batch(plain)
  assert models.shapes(plain) == models.shapes(remat)

  def gradient(model):
    def loss(params):
      out = model.apply(
        {'params': params},
        batch,
        train=True,
        rngs={'dropout': jax.random.key(3)},
      )
      return jnp.square(out['logits']).sum()

    return jax.jit(jax.grad(loss))(params)

  pairs = zip(*(jax.tree.leaves(gradient(m)) for m in (plain, remat)))
  for a, b in pairs:
    np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5)


def test_layers_may_differ():
  model = make(
    num_layers=3,
    mixer=['fourier', 'identity', 'attention'],
    ffn=['feedforward', 'identity', 'feedforward'],
    options={'fourier': {'implementation': 'dft'}},
  )
  names = {n.rpartition('/')[0] for n in models.shapes(model)}
  assert 'encoder/layer_2/mixer/query' in names
  assert not [n for n in names if re.match(r'encoder/layer_[01]/mixer', n)]
  assert not [n for n in names if n.startswith('encoder/layer_1/ffn')]
  assert hash(model) and model.config.fixed_length
  forward(model, start(model), make_batch(model))


@pytest.mark.parametrize('name', FAMILIES)
@pytest.mark.parametrize('kind', ['classification', 'mlm'])
def test_every_parameter_has_a_sharding_rule_of_its_rank(name, kind):
  for leaf, value in models.shapes(make(name, kind)).items():
    spec = tree.first_match(stack.RULES, leaf)
    assert spec is not None and len(spec) == len(value.shape), leaf


def test_parameter_counts_are_those_of_the_paper():
  model = models.build('bert', 'base')
  count = sum(np.prod(s.shape) for s in models.shapes(model).values())
  assert count == 109_482_240


def test_fresh_parameters_follow_the_recipe():
  flat = tree.flatten(
    models.build('bert', 'tiny', vocab_size=500).init(
      jax.random.key(0), {'input_ids': np.ones((1, 2), 'int32')}
    )['params']
  )
  for name, value in flat.items():
    if value.ndim > 1:
      assert abs(float(value.std()) / 0.02 - 1) < 0.15, name
    else:
      assert np.all(value == (1 if name.endswith('scale') else 0)), name
  assert not flat['encoder/embeddings/word/embedding'][0].any()


def test_positions_follow_the_padding_id():
  assert make('roberta', pad_id=4).config.position_offset == 5
  assert make('bert', pad_id=4).config.position_offset == 0


@pytest.mark.parametrize(
  'arguments,message',
  [
    (dict(name='rwkv', preset='tiny'), 'no file glue_jax/models/rwkv.py'),
    (dict(name='encoder', preset='tiny'), "there are .*'bert'"),
    (dict(name='bert', preset='huge'), "'minilm_l6'"),
    (dict(name='bert', preset='tiny', kind='poetry'), "'span'"),
    (dict(name='bert', preset='tiny', width=3), r"nothing reads \['width'\]"),
    (dict(name='bert'), 'either model.preset or'),
    (dict(name='bert', preset='tiny', kind='classification'), 'num_outputs'),
  ],
)
def test_errors_list_what_there_is(arguments, message):
  with pytest.raises(ValueError, match=message):
    models.build(**arguments)
