"""Networks beside the model: a generator that shares its table and learns."""

import json

import jax
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.devices import sharding
from glue_jax.method import Companion, Method
from glue_jax.models import model as models
from glue_jax.plugs import Apply
from glue_jax.training import begin, companions, session
from glue_jax.training.compose import compose
from tests import laws_test, small_users
from tests.conftest import run_on_devices, tiny_config
from tests.law_cases import Case

OFF = dict(dropout=0.0, attention_dropout=0.0)
CHANGES = dict(model=OFF, objective=dict(name='replaced'))


@pytest.fixture(scope='module', autouse=True)
def named():
  with small_users.named():
    yield


@pytest.fixture(scope='module')
def case():
  return Case('replaced', tiny_config(**CHANGES))


def of_generator(names):
  return {name for name in names if name.startswith('generator/')}


def test_both_networks_learn_and_one_is_exported(case):
  laws_test.test_frozen_leaves_are_bit_equal_and_learning_ones_move(case)
  own = of_generator(tree.flatten(case.parts.params))
  assert 'generator/encoder/layer_0/mixer/query/kernel' in own
  # The table is the model's; it moves for both.
  assert not any('embeddings' in name for name in own)
  assert case.parts.trained == {
    'model': tree.size(case.parts.params) - case.parts.trained['replaced'],
    'replaced': tree.size(case.parts.params['generator']),
  }
  laws_test.test_what_is_exported_is_what_was_trained(case)
  with sharding.enter(case.parts.mesh):
    exported = session.exported(case.parts, case.start())
  assert set(tree.flatten(exported)) == case.parts.names


def test_a_stopped_run_goes_on_bit_for_bit(case, tmp_path):
  laws_test.test_saved_restored_and_continued_is_bit_equal(case, tmp_path)


def test_accumulated_is_the_large_batch(case):
  parts = tiny_config(**CHANGES, train=dict(accumulate=4))
  whole, _ = case.step(case.start(), 2)
  four = Case('accumulated', parts)
  summed, _ = four.step(four.start(), 2)
  ours, theirs = (laws_test.host(s.params) for s in (whole, summed))
  for name, value in ours.items():
    np.testing.assert_allclose(theirs[name], value, atol=1e-5, err_msg=name)


def test_four_devices_give_the_result_of_one_by_the_networks_own_rules():
  changes = dict(CHANGES, optimizer=dict(lr=1e-3))
  script = f"""
import json
from tests import device_laws, small_users
from tests.conftest import tiny_config
from glue_jax.training import begin
with small_users.named():
  device_laws.main({json.dumps(json.dumps({'replaced': changes}))})
  mesh = dict(data=1, fsdp=2, tensor=2)
  run = begin.begin(tiny_config(**{changes!r}, mesh=mesh), 0)
  print(run.host.state.params['generator']['encoder']['layer_0']['mixer'][
    'query']['kernel'].sharding.spec)
"""
  said = run_on_devices(script, 4)
  assert 'equal replaced' in said
  assert "P('fsdp', 'tensor')" in said.replace('PartitionSpec', 'P')


def test_a_kept_network_leaves_beside_the_model(case):
  changed = CHANGES | {'objective': dict(name='replaced', keep=True)}
  run = begin.begin(tiny_config(**changed), 0, total=4)
  with sharding.enter(run.parts.mesh):
    exported = tree.flatten(session.exported(run.parts, run.host.state))
  own = of_generator(tree.flatten(case.parts.params))
  assert set(exported) == case.parts.names | own


def test_networks_that_cannot_be_are_refused(case):
  apply = Apply(case.parts.plain.model)
  with pytest.raises(ValueError, match='does not learn needs weights'):
    Companion(apply, learns=False)
  one = Method('one', companions={'generator': Companion(apply)})
  two = Method('two', companions={'generator': Companion(apply)})
  with pytest.raises(ValueError, match="two and one both bring .*'generator'"):
    compose([one, two])
  batch = case.parts.bundle.train.batch(0)
  key = jax.random.key(0)
  with pytest.raises(ValueError, match="named 'head' is there already"):
    taken = Method('taken', companions={'head': Companion(apply)})
    companions.add(key, {'head': {}}, taken, batch)
  other = models.build('bert', 'tiny', vocab_size=9)
  with pytest.raises(ValueError, match='do not fit their network'):
    weights = {'encoder': {}}
    wrong = Method('wrong', companions={'x': Companion(Apply(other), weights)})
    companions.add(key, {}, wrong, batch)
