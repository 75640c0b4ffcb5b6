"""LaMDA in a run: its start, its two programs, its errors."""

import types

import jax
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.devices import sharding
from glue_jax.methods import lamda as method
from glue_jax.peft import lamda
from glue_jax.training import build_data
from glue_jax.training.begin import begin
from glue_jax.training.compose import add_leaves
from tests.conftest import tiny_config

TOTAL = 6


def begun(*methods):
  config = tiny_config(
    methods=methods,
    model=dict(dropout=0.0, attention_dropout=0.0, num_layers=1),
  )
  return begin(config, 0, total=TOTAL)


@pytest.fixture(scope='module')
def plain():
  return begun().parts


def added(plain, **arguments):
  """(Apply, parameters) of the plain model with LaMDA."""
  made = method.make(types.SimpleNamespace(total_steps=TOTAL), **arguments)
  batch = build_data.example_batch(plain.bundle)
  params, _ = add_leaves(
    jax.random.key(0), plain.params, plain.plain, [made], batch
  )
  return plain.plain.replace(plugs=made.plugs), params


@pytest.mark.parametrize('init', lamda.INITIALISATIONS)
def test_the_start_is_the_pretrained_model(plain, init):
  apply, params = added(plain, rank=4, init=init)
  batch = plain.bundle.train.batch(0)
  np.testing.assert_allclose(
    apply(params, batch)['logits'],
    plain.apply(plain.params, batch)['logits'],
    atol=1e-5,
  )
  kernel = 'encoder/layer_0/mixer/query/kernel'
  changed = not np.array_equal(
    tree.flatten(params)[kernel], tree.flatten(plain.params)[kernel]
  )
  assert changed == (init == 'svd_residual')


@pytest.fixture(scope='module')
def steps():
  """The state after each step of a run that is frozen in step 3 of 6."""
  run = begun(('lamda', dict(rank=4, alpha=4.0, eta=0.5)))
  rows = run.parts.bundle.train.batch(0)
  with sharding.enter(run.parts.mesh):
    seen = []
    for _ in range(TOTAL):
      run.prepare()
      run.step(rows)
      seen.append(
        types.SimpleNamespace(
          learning=set(tree.flatten(run.host.state.params)),
          moments=str(jax.tree.structure(run.host.state.opt_state)),
          leaves={
            n: np.asarray(x)
            for n, x in tree.flatten(run.host.state.all_params()).items()
          },
        )
      )
  return types.SimpleNamespace(
    seen=seen, programs=run.programs, parts=run.parts
  )


def of(names, leaf):
  return {name for name in names if name.endswith(f'/lamda_{leaf}')}


def test_two_programs_and_b_becomes_a_constant(steps):
  assert steps.programs.traces == 2
  for number, seen in enumerate(steps.seen, 1):
    assert of(seen.learning, 's') and not of(seen.learning, 'a')
    # floor(4 * 3 / (0.5 * 6)) = 4: frozen from the third step on.
    assert bool(of(seen.learning, 'b')) == (number < 3)
    assert ('lamda_b' in seen.moments) == (number < 3)


def test_what_moves_in_each_phase(steps):
  for number, (old, new) in enumerate(zip(steps.seen, steps.seen[1:]), 2):
    moved = {
      name
      for name, value in new.leaves.items()
      if not np.array_equal(value, old.leaves[name])
    }
    assert moved == new.learning
    for name in of(moved, 'b'):
      rows = (old.leaves[name] != new.leaves[name]).any(1)
      frozen = lamda.frozen_rows(number, 4, TOTAL, 0.5)
      np.testing.assert_array_equal(rows, np.arange(4) >= frozen)


def test_merged_is_unmerged(steps):
  parts, leaves = steps.parts, steps.seen[-1].leaves
  batch = parts.bundle.train.batch(0)
  params = tree.unflatten(leaves)
  np.testing.assert_allclose(
    parts.plain(parts.method.export(params), batch)['logits'],
    parts.apply(params, batch)['logits'],
    atol=1e-5,
  )


def test_a_rank_for_each_matrix(plain):
  ranks = {
    'encoder/layer_0/mixer/query': 2,
    'encoder/layer_0/mixer/value': 5,
  }
  flat = tree.flatten(added(plain, ranks=ranks)[1])
  assert {n: flat[f'{n}/lamda_s'].shape for n in ranks} == {
    n: (r, r) for n, r in ranks.items()
  }
  for wrong, message in (
    ({'encoder/layer_0/mixer/query': 2}, 'none for .*mixer/value'),
    (ranks | {'encoder/layer_7/mixer/key': 2}, 'layer_7.*; there are'),
  ):
    with pytest.raises(ValueError, match=message):
      added(plain, ranks=wrong)


@pytest.mark.parametrize(
  'arguments, message',
  [
    (dict(ranks={}), 'expected a rank for each layer'),
    (dict(eta=0.0, init='released'), 'S has no gradient'),
  ],
)
def test_bad_arguments(arguments, message):
  with pytest.raises(ValueError, match=message):
    method.make(types.SimpleNamespace(total_steps=10), **arguments)


def test_a_rank_over_the_layers_size(plain):
  with pytest.raises(
    ValueError, match=r'rank=17 exceeds min\(d_in, d_out\)=16'
  ):
    added(plain, rank=17)


def test_weights_that_are_not_finite(plain):
  kernel = tree.flatten(plain.params)['encoder/layer_0/mixer/query/kernel']
  params = {'layer': {'kernel': kernel.at[0, 0].set(np.nan)}}
  params['layer']['lamda_a'] = np.zeros((16, 2))
  with pytest.raises(ValueError, match='layer/kernel: 1 of 256 values are not'):
    lamda.initialise(params, 'layer', 1.0, 'svd_zero')
