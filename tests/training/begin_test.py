"""What a config builds and refuses, and the first steps by hand."""

import jax
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.devices import sharding
from glue_jax.training import begin, build_data, inputs, schema
from glue_jax.training.train import train
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
  params = parts(model=changes, data=dict(tokenizer=saved)).params
  return {n: np.asarray(x) for n, x in tree.flatten(params).items()}


def test_weights_are_taken_whole_head_included(saved):
  expected = tree.flatten(saved_model.load(saved)[1])
  for name, value in started(saved).items():
    np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_fresh_patterns_start_afresh_and_nothing_else(saved):
  expected = tree.flatten(saved_model.load(saved)[1])
  params = started(saved, fresh=['head/.*'])
  other = {n for n in params if not np.array_equal(params[n], expected[n])}
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
    (dict(model=dict(vocab_size=9)), r'the model only 9 rows'),
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


@pytest.fixture(scope='module')
def run():
  """A run whose hook unfreezes a layer an epoch; none of its steps is taken."""
  return begin.begin(tiny_config(methods=(('gradual_unfreezing', {}),)), 0)


def leaves(params):
  return {n: np.asarray(x) for n, x in tree.flatten(params).items()}


def test_steps_by_hand_are_those_of_the_loop(run, tmp_path):
  methods = (('gradual_unfreezing', {}),)
  train(tiny_config(methods=methods, train=dict(epochs=2)), tmp_path, 0)
  again = run.afresh()
  with sharding.enter(run.parts.mesh):
    for rows in run.parts.train_data().iterate(0, 8):
      again.prepare()
      again.step(rows)
  assert again.host.step == run.parts.total_steps == 8
  expected = leaves(saved_model.load(tmp_path)[1])
  for name, value in leaves(again.host.state.all_params()).items():
    np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_what_begins_again_has_a_state_of_its_own(run):
  start = leaves(run.parts.params)
  one, other = run.afresh(), run.afresh(step=4)
  with sharding.enter(run.parts.mesh):
    one.prepare()
    metrics = one.step(run.parts.train_data().batch(0))
  assert bool(metrics['finite'])
  assert (one.host.step, other.host.step, run.host.step) == (1, 4, 0)
  assert other.host.epoch == 1 and one.programs is other.programs
  for state in (run.host.state, other.host.state):
    for name, value in leaves(state.all_params()).items():
      np.testing.assert_array_equal(value, start[name], err_msg=name)


def test_a_program_is_traced_without_a_step(run):
  again = run.afresh()
  with sharding.enter(run.parts.mesh):
    again.prepare()
    traced = again.traced(run.parts.train_data().batch(0))
  assert traced.jaxpr.eqns and again.host.step == 0
  assert not again.host.state.step.is_deleted()


def test_without_a_training_split_a_run_begins_but_does_not_train(run):
  tokenizer = run.parts.bundle.tokenizer
  made = begin.begin(
    tiny_config(), 0, total=1,
    tokenizer=tokenizer, train_split='', eval_splits=(),
  )  # fmt: skip
  assert made.host.train_data is None and made.host.total_steps == 1
  with pytest.raises(ValueError, match='has no split to train on'):
    made.parts.train_data()


def test_three_devices_share_a_batch_of_prediction_but_not_of_training(saved):
  class Mesh:
    shape = {'data': 3, 'fsdp': 1, 'tensor': 1, 'expert': 1}

  sections = schema.bind(tiny_config(), 8)
  task = inputs.current_task(sections.task, None)
  with pytest.raises(ValueError, match='batch_size=16 .* 3 devices'):
    build_data.make_data(sections, task, Mesh, 0)

  bundle = build_data.make_data(
    sections, task, Mesh, 0, train_split='', tokenizer=saved
  )
  assert bundle.evals['validation'].batch_size == 33
