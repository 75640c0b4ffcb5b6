"""Prompt transfer: a teacher that stays, and what is refused as one."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.config import config as config_lib
from glue_jax.probes import transferability
from glue_jax.training import begin, runs, schema
from tests import adapters, laws_test, quick
from tests.conftest import tiny_config
from tests.law_cases import Case

PLAIN = dict(
  model=dict(
    max_positions=32, num_layers=1, dropout=0.0, attention_dropout=0.0
  ),
  train=dict(epochs=1),
)


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
  folder = tmp_path_factory.mktemp('teacher') / 'prompt'
  adapters.save(folder, tiny_config(**PLAIN), seed=1, name='prefix')
  return str(folder)


def student(teacher, **settings):
  given = dict(teacher=teacher, length=2, dropout=0.0, beta=3.0) | settings
  methods = [['prompt_transfer', given]]
  return tiny_config(**config_lib.override(PLAIN, {'methods': methods}))


@pytest.fixture(scope='module')
def case(teacher):
  return Case('prompt_transfer', student(teacher))


def test_the_pull_is_a_tenth_of_beta_of_the_mean_square_over_the_rows(case):
  parts, batch = case.parts, case.parts.bundle.train.batch(0)
  key = jax.random.key(0)
  rows = parts.method.prepare(None, None, batch, key)
  frozen = parts.method.init_frozen(key)
  assert float(parts.method.init_extra(key, parts.params)['beta']) == 3
  # Fresh heads say nearly the same.
  apply = parts.apply.replace(frozen=frozen, extra={'beta': 1e5})
  loss = parts.method.wrap_loss(parts.objective.loss)
  total, metrics = quick.jit(lambda p: loss(apply, p, rows, key))(parts.params)
  hard = metrics['loss'][0] / metrics['loss'][1]
  square = metrics['transfer'][0] / metrics['transfer'][1]
  count = batch['weight'].sum()
  pull = 0.1 * 1e5 * square / count
  assert pull > 1e-3
  assert float(total - hard) == pytest.approx(float(pull), rel=1e-3)


def test_accumulated_is_the_large_batch(case, teacher):
  whole, _ = case.step(case.start(), 2)
  changed = config_lib.override(student(teacher), {'train': {'accumulate': 4}})
  four = Case('accumulated', config_lib.complete(changed))
  summed, _ = four.step(four.start(), 2)
  ours, theirs = (laws_test.host(s.params) for s in (whole, summed))
  for name, value in ours.items():
    np.testing.assert_allclose(theirs[name], value, atol=2e-5, err_msg=name)


def test_similarity_takes_the_place_of_beta(teacher, tmp_path):
  path = str(tmp_path / 'similarity.npz')
  for value, expected in ((0.4, 0.4), (-0.2, 0.0)):
    np.savez(path, similarity=np.float32(value))
    parts = begin.build(schema.bind(student(teacher, similarity=path), 4), 0)
    extra = parts.method.init_extra(jax.random.key(0), parts.params)
    assert float(extra['beta']) == pytest.approx(expected)


def test_from_source_to_student(tmp_path):
  """The three runs, one after another; the teacher must stay what it was."""
  prefix = dict(length=3, dropout=0.0)
  carried = dict(
    weights='stage:source', carry=['.*/prefix_(key|value)'], fresh=['head/.*']
  )
  plain = config_lib.plain(tiny_config(**PLAIN))
  del plain['stages']
  taught = config_lib.plain(student('stage:teacher'))
  prompt = plain | {'methods': [['prefix', prefix]]}
  stages = (
    ('source', prompt),
    ('teacher', prompt | {'model': carried}),
    ('student', plain | {'methods': taught['methods']}),
  )
  config = config_lib.complete({'stages': stages})
  runs.run(config, tmp_path)
  lines = (tmp_path / 'student/metrics.jsonl').read_text().splitlines()
  assert json.loads(lines[0])['train/transfer'] > 0
  (source, alike), = transferability.of_sources(
    tiny_config(**PLAIN), [tmp_path / 'source'], 20
  )  # fmt: skip
  assert source == str(tmp_path / 'source')
  # Of one task with itself, of the same rows in the same order.
  assert alike == pytest.approx(1, abs=1e-5)
  with pytest.raises(ValueError, match='no source|one or more'):
    transferability.of_sources(tiny_config(**PLAIN), [])


def test_other_teachers_are_refused(teacher, tmp_path):
  base = tiny_config(**PLAIN)
  adapters.save(tmp_path / 'adapter', base, seed=1)
  wide = config_lib.override(base, {'model': {'intermediate_size': 24}})
  adapters.save(tmp_path / 'wide', wide, seed=1, name='prefix')
  for folder, message in (
    ('adapter', r"was tuned with \['pfeiffer'\]; expected .*'prefix'"),
    ('wide', 'intermediate_size 24, this model 32'),
    ('none', 'holds no finished model'),
  ):
    with pytest.raises(ValueError, match=message):
      begin.build(schema.bind(student(str(tmp_path / folder)), 4), 0)
  adapters.save(
    tmp_path / 'other', base, seed=1, name='prefix', backbone_seed=3
  )
  with pytest.raises(ValueError, match='the prompt .*another backbone'):
    runs.run(student(str(tmp_path / 'other')), tmp_path / 'run')


def test_a_teacher_of_other_labels_is_refused(teacher):
  from glue_jax.methods import prompt_transfer

  parts = begin.build(schema.bind(student(teacher), 4), 0)
  context = begin.make_context(
    parts.sections, parts.bundle, parts.plain, _Read(teacher)
  )
  with pytest.raises(ValueError, match=r"tells \['x', 'y'\] apart"):
    prompt_transfer.make(context, teacher=teacher)


class _Read:
  """Reads a teacher, and names its labels otherwise."""

  model = arrays = None

  def __init__(self, teacher):
    from glue_jax.weights import source

    self._tuned = source.load_tuned(teacher)

  def tuned(self, name):
    return dataclasses.replace(self._tuned, labels=['x', 'y'])


def test_training_of_the_backbone_is_refused(teacher):
  both = [['bitfit', {}], *config_lib.plain(student(teacher))['methods']]
  with pytest.raises(ValueError, match='prompt_transfer keeps them from'):
    changed = config_lib.override(student(teacher), {'methods': both})
    begin.build(schema.bind(config_lib.complete(changed), 4), 0)


def test_only_prompt_and_head_of_the_teacher_are_kept(case):
  state = case.start()
  own = tree.flatten(state.frozen['prompt_teacher'])
  assert {n.rpartition('/')[2] for n in own} >= {'prefix_key', 'prefix_value'}
  assert not any('query' in name for name in own)
  assert own['encoder/layer_0/mixer/core/prefix_key'].shape == (3, 16)
