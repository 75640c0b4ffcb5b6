"""What a config builds, and what it refuses before any training."""

import jax
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.devices import sharding
from glue_jax.training import begin, schema
from glue_jax.weights import saved_model
from tests.conftest import tiny_config


def parts(seed=0, **changes):
  return begin.build(schema.bind(tiny_config(**changes), 4), seed)


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
  """A saved two-class model with its tokenizer."""
  folder = tmp_path_factory.mktemp('saved')
  made = parts(seed=1)
  params = sharding.gather(made.params, made.mesh)
  saved_model.save(folder, made.plain.model, params)
  made.bundle.tokenizer.save(folder)
  return str(folder)


def started(saved, **model):
  changes = dict(name=None, preset=None, weights=saved, **model)
  found = parts(model=changes, data=dict(tokenizer=saved)).params
  return {n: np.asarray(x) for n, x in tree.flatten(found).items()}


def test_weights_are_taken_whole_head_included(saved):
  expected = tree.flatten(saved_model.load(saved)[1])
  for name, value in started(saved).items():
    np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_fresh_patterns_start_afresh_and_nothing_else(saved):
  expected = tree.flatten(saved_model.load(saved)[1])
  found = started(saved, fresh=['head/.*'])
  other = {n for n in found if not np.array_equal(found[n], expected[n])}
  assert other <= {'head/out/kernel', 'head/out/bias'} and other


def test_weights_of_another_size_are_refused_with_a_diff(saved):
  with pytest.raises(ValueError, match=r'! encoder/.* expected \(8, 32\)'):
    started(saved, hidden_size=8)


def test_sizes_of_weights_are_not_given_twice(saved):
  with pytest.raises(ValueError, match=r"\['preset'\] come from model.weights"):
    parts(model=dict(name=None, weights=saved))


@pytest.mark.parametrize(
  'changes, message',
  [
    (dict(model=dict(max_positions=8)), 'exceed the 8 positions'),
    (dict(model=dict(type_vocab_size=0)), 'type_ids up to 0.*0 rows'),
    (dict(model=dict(hiden_size=8)), r"nothing reads \['hiden_size'\]"),
    (dict(model=dict(preset='hugh')), "preset='hugh'"),
    (dict(methods=(('lroa', {}),)), 'methods/lroa.py; there are'),
    (dict(methods=(('lora', dict(ranks=2)),)), r"nothing reads \['ranks'\]"),
    (dict(mesh=dict(data=3)), 'does not fit 1 devices'),
    (dict(task=dict(name='rtee')), 'rtee'),
    (dict(data=dict(batch_sise=2)), r"nothing reads \['batch_sise'\]"),
  ],
)
def test_mistakes_are_named_before_training(changes, message):
  with pytest.raises(ValueError, match=message):
    parts(**changes)


def test_equal_seeds_build_equal_parameters():
  first, second = parts().params, parts().params
  jax.tree.map(np.testing.assert_array_equal, first, second)
