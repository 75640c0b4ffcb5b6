"""Laws that hold for every objective, one parametrised test for each law.

What they need of an objective is its record `FACTS`; a file with a `make` in
glue_jax/objectives without one fails here.
"""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.config import config
from glue_jax.data import hard_tokens
from glue_jax.devices import sharding
from glue_jax.probes import token_scores
from glue_jax.training import begin, gradients, schema
from glue_jax.weights import saved_model
from tests import device_laws_test, laws_test, quick
from tests.conftest import run_on_devices, tiny_config
from tests.law_cases import Case

OBJECTIVES = {
  name: config.module('objectives', name, 'objective')
  for name in config.files('objectives')
}
OBJECTIVES = {n: m.FACTS for n, m in OBJECTIVES.items() if hasattr(m, 'make')}
# Each objective, and each arm of one as 'objective:arm'.
ARMS = sorted(
  [
    *OBJECTIVES,
    *(f'{name}:{arm}' for name in OBJECTIVES for arm in OBJECTIVES[name].arms),
  ]
)
SMALL = dict(
  model=dict(
    max_positions=32, num_layers=1, num_heads=2,
    dropout=0.0, attention_dropout=0.0,
  ),
  data=dict(tokenizer='train', vocab_size=120),
)  # fmt: skip
PADS = 8


@pytest.fixture(scope='module')
def files(tmp_path_factory):
  """What a record may name as files: made here."""
  folder = tmp_path_factory.mktemp('texts')
  rng = np.random.default_rng(0)
  for document in 'ab':
    words = [f'{document}{i}' for i in range(30)]
    lines = [
      ' '.join(rng.choice(words, rng.integers(3, 8))) for _ in range(120)
    ]
    (folder / f'{document}.txt').write_text('\n'.join(lines) + '\n')
  one = str(folder)
  lines = (folder / 'a.txt').read_text().splitlines()
  triples = tmp_path_factory.mktemp('rows') / 'rows.txt'
  triples.write_text(
    ''.join('\t'.join(lines[i : i + 3]) + '\n' for i in range(90))
  )
  rows = str(triples)
  corpus = dict(train=one, validation=one)
  return {
    'CORPUS': corpus,
    'TRIPLES': dict(train=rows, validation=rows),
    'TEACHER': teacher(tmp_path_factory.mktemp('teacher'), corpus),
    'HARD': folder / 'hard.npz',
  }


def teacher(folder, corpus):
  """A saved model of the corpus' vocabulary, of twice as many blocks."""
  kind = dict(name='corpus', kind='language_modeling')
  needs = dict(task=kind, data=dict(files=corpus), model=dict(num_layers=2))
  made = config.override(SMALL, needs | dict(objective=dict(name='mlm')))
  parts = begin.build(schema.bind(tiny_config(**made), 4), 1)
  params = sharding.gather(parts.params, parts.mesh)
  saved_model.save(folder, parts.plain.model, params)
  return str(folder)


def changes(case, files):
  """Changes of a tiny config: the objective, and what it works with only."""
  name, _, arm = case.partition(':')
  facts = OBJECTIVES[name]
  arguments = {**facts.small, **(facts.arms[arm] if arm else {})}
  if arguments.get('teacher') == 'TEACHER':
    arguments['teacher'] = files['TEACHER']
  needs = {key: dict(value) for key, value in facts.needs.items()}
  named = needs.get('data', {}).get('files')
  if named:
    needs['data']['files'] = files[named]
  made = config.override(SMALL, needs)
  made = config.override(made, {'objective': {'name': name, **arguments}})
  if 'hard_tokens' in needs.get('data', {}):
    made['data']['hard_tokens'] = str(files['HARD'])
    if not files['HARD'].is_file():
      rows, places, model = token_scores.of_config(tiny_config(**made), 0)
      # Every other row has none, and is masked at random.
      places = [row[: 4 * (i % 2)] for i, row in enumerate(places)]
      hard_tokens.write(files['HARD'], rows, places, model)
  return made


@pytest.fixture(scope='module', params=ARMS)
def case(request, files):
  return Case(request.param, tiny_config(**changes(request.param, files)))


@pytest.fixture
def steady(monkeypatch):
  """Random numbers are a function of a token's place in its row alone.

  So a row gets the same ones in any batch and at any length.
  """

  def uniform(key, shape=(), dtype=jnp.float32, minval=0.0, maxval=1.0):
    del key
    place = jnp.arange(shape[-1]) if len(shape) > 1 else 0
    share = jnp.broadcast_to((0.37 + 0.618034 * place) % 1, shape)
    return (minval + share * (maxval - minval)).astype(dtype)

  def randint(key, shape, minval, maxval, dtype=jnp.int32):
    share = uniform(key, shape) * (maxval - minval)
    return (minval + jnp.floor(share)).astype(dtype)

  monkeypatch.setattr(jax.random, 'uniform', uniform)
  monkeypatch.setattr(jax.random, 'randint', randint)


def test_every_learning_leaf_moves(case):
  state = case.start()
  before = laws_test.host(state.params)
  state, metrics = case.step(state, 2)
  assert bool(metrics['finite'])
  after = laws_test.host(state.params)
  moved = {n for n in before if not np.array_equal(before[n], after[n])}
  facts = OBJECTIVES[case.name.partition(':')[0]]
  assert moved == before.keys() - tree.match(facts.still, before)


test_what_is_exported = laws_test.test_what_is_exported_is_what_was_trained
test_saved_and_continued = (
  laws_test.test_saved_restored_and_continued_is_bit_equal
)
test_padding_rows = laws_test.test_rows_of_nothing_but_padding_give_no_nan


def test_padding_appended_changes_nothing(case, steady):
  parts = case.parts
  apply = parts.apply.replace(step=0, frozen=case.start().frozen)

  @quick.jit
  def run(rows):
    params = whole(parts, parts.params)
    return parts.objective.loss(apply, params, rows, jax.random.key(0))

  rows = uneven(parts.bundle.train.batch(0), parts)
  total, metrics = run(rows)
  longer, theirs = run({key: pad(key, x, parts) for key, x in rows.items()})
  np.testing.assert_allclose(longer, total, rtol=2e-5)
  for name, pair in metrics.items():
    np.testing.assert_allclose(theirs[name], pair, rtol=2e-5, err_msg=name)


def test_micro_batches_give_the_gradient_of_the_large_batch(case, steady):
  parts = case.parts
  apply = parts.apply.replace(step=0, frozen=case.start().frozen)

  def loss(params, batch, rng):
    params = whole(parts, params)
    return *parts.objective.loss(apply, params, batch, rng), {}

  @functools.partial(quick.jit, static_argnums=1)
  def of(rows, accumulate):
    found = gradients.gradients(
      loss, parts.params, rows, jax.random.key(0), accumulate, (),
      parts.objective.terms,
    )  # fmt: skip
    return found.of['loss']

  rows = uneven(parts.bundle.train.batch(0), parts)
  once, joined = (tree.flatten(of(rows, count)) for count in (1, 2))
  scale = max(np.abs(x).max() for x in once.values())
  apart = max(np.abs(joined[n] - x).max() for n, x in once.items()) / scale
  facts = OBJECTIVES[case.name.partition(':')[0]]
  assert apart > 1e-3 if facts.unequal else apart < 1e-4, apart


def whole(parts, params):
  """The tree that a step's loss is given."""
  reparam = parts.method.reparam
  return reparam(params, 0, None) if reparam else params


def uneven(rows, parts):
  """A batch with every other row cut short."""
  cut = dict(rows)
  for name, fill in fills(parts).items():
    if name in rows:
      cut[name] = rows[name].copy()
      cut[name][::2, ..., 7:] = fill
  return cut


def fills(parts):
  """What stands at padding, by field."""
  pad_id = parts.bundle.train.examples.pad_id
  return {'input_ids': pad_id, 'word_ids': -1, 'attention_mask': 0}


def pad(name, value, parts):
  """A field of a batch with PADS tokens of padding more."""
  if value.ndim == 1:
    return value
  widths = [(0, 0)] * (value.ndim - 1) + [(0, PADS)]
  return np.pad(value, widths, constant_values=fills(parts).get(name, 0))


def test_four_devices_give_the_result_of_one(files):
  base = config.override(device_laws_test.BASE, dict(model=dict(num_layers=1)))
  cases = {
    name: config.override(base, changes(name, files)) for name in OBJECTIVES
  }
  said = run_on_devices(
    'from tests import device_laws\n'
    f'device_laws.main({json.dumps(json.dumps(cases))})',
    4,
  )
  assert said.split() == ['equal', *OBJECTIVES]
