"""Leaves that an earlier run's methods left go on in the next one's."""

import numpy as np
import pytest

from glue_jax import tree
from glue_jax.devices import sharding
from glue_jax.training import begin, build_params, schema, session, train
from glue_jax.training.learning import Leaves
from glue_jax.weights import saved_model
from tests import device_cases, small_users
from tests.conftest import tiny_config
from tests.training.frozen_test import FROM_WEIGHTS

KEPT = dict(objective=dict(name='replaced', keep=True))


@pytest.fixture(scope='module', autouse=True)
def named():
  with small_users.named():
    yield


@pytest.fixture(scope='module')
def stage(tmp_path_factory):
  """A finished model with a generator beside it."""
  folder = tmp_path_factory.mktemp('stage')
  run = begin.begin(tiny_config(**KEPT), 1, total=4)
  with sharding.enter(run.parts.mesh):
    params = session.exported(run.parts, run.host.state)
  plain, rest = tree.partition(params, lambda name: name in run.parts.names)
  model = run.parts.plain.model
  saved_model.save(folder, model, plain, tree.flatten(rest))
  run.parts.bundle.tokenizer.save(folder)
  return folder


def following(stage, **model):
  weights = FROM_WEIGHTS | dict(weights=str(stage)) | model
  return tiny_config(data=dict(tokenizer=str(stage)), model=weights, **KEPT)


def test_named_leaves_begin_as_the_stage_before_left_them(stage):
  # A seed of its own: what is drawn is another generator.
  carry = ('generator/encoder/.*',)
  parts = begin.build(schema.bind(following(stage, carry=carry), 1), 0)
  ours = tree.flatten(parts.params)
  _, theirs = saved_model.load_whole(stage)
  theirs = tree.flatten(theirs)
  assert ours.keys() == theirs.keys()
  different = {n for n in ours if not np.array_equal(ours[n], theirs[n])}
  # The generator's head isn't carried; its zeros and ones are always the same.
  assert different == {'generator/head/dense/kernel'}


def test_stopped_in_the_middle_it_goes_on_the_same(
  stage, tmp_path, monkeypatch
):
  config = following(stage, carry=('generator/encoder/.*',))
  train.train(config, tmp_path / 'one', 0)
  with monkeypatch.context() as patch:
    patch.setattr(train, 'Signals', train.Signals)
    device_cases._stop_after(train, 3)
    with pytest.raises(train.Interrupted, match='step 3 of 8'):
      train.train(config, tmp_path / 'two', 0)
  train.train(config, tmp_path / 'two', 0)
  for file in ('metrics.jsonl', 'model/params.safetensors'):
    one, two = ((tmp_path / run / file).read_bytes() for run in ('one', 'two'))
    assert one == two, file


@pytest.mark.parametrize(
  'model, message',
  [
    (dict(), 'no plain model: .*generator'),
    (dict(carry=('generator/decoder/.*',)), 'matches none of these names'),
    (dict(carry=('encoder/.*',)), 'matches none of these names'),
    (dict(carry=('generator/.*',), weights=None, name='bert', preset='tiny'),
     'carry=.*model.weights'),
  ],
)  # fmt: skip
def test_what_cannot_be_carried_is_refused(stage, model, message):
  with pytest.raises(ValueError, match=message):
    begin.build(schema.bind(following(stage, **model), 1), 0)


def test_leaves_that_the_run_lacks_or_has_otherwise_are_refused(stage):
  network = schema.bind(following(stage, carry=('generator/.*',)), 1).model
  saved = {'generator': {'w': np.zeros((2, 3))}}
  leaves = Leaves(frozenset(), {}, {})
  cases = {
    'no method of this run adds it': {},
    r'\(2, 3\), this run in': {'w': np.zeros((3, 2))},
  }
  for message, ours in cases.items():
    with pytest.raises(ValueError, match=message):
      build_params.carried(network, saved, {'generator': ours}, leaves)
