"""DyLoRA in a run: one rank a step, and every rank from one checkpoint."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from glue_jax import tree
from glue_jax.export import huggingface, stablehlo
from glue_jax.inference import open_run, score
from glue_jax.method import Objective
from glue_jax.methods import dylora as method
from glue_jax.peft import dylora
from glue_jax.plugs import Apply
from glue_jax.training import build_data, session
from glue_jax.training.compose import compose
from glue_jax.training.state import TrainState
from glue_jax.training.step import USES, make_step
from glue_jax.training.train import train
from launch import evaluate
from tests.commands import status
from tests.conftest import tiny_config

RANK = 4


def config(**arguments):
  arguments = dict(rank=RANK, mode='nested') | arguments
  return tiny_config(
    methods=(('dylora', arguments),),
    model=dict(dropout=0.0, attention_dropout=0.0, num_layers=1),
    train=dict(epochs=1),
  )


@pytest.mark.parametrize('own', [False, True])
def test_the_rank_of_a_step(own):
  """Of four micro-batches: one rank, or the largest of theirs."""
  made = method.make(
    None, rank=RANK, mode='nested', resample_per_microbatch=own
  )
  sites = [f'encoder/layer_0/mixer/{name}' for name in ('query', 'value')]
  params = tree.unflatten(
    {f'{site}/lora_b': jnp.zeros((RANK, 2)) for site in sites}
  )

  def loss(apply, params, batch, rng):
    total = sum(x.sum() for x in tree.flatten(params).values())
    return total, {'loss': (total, batch['x'].size)}

  tx, key, weights = optax.sgd(1.0), jax.random.key(0), jnp.zeros(RANK)
  step = make_step(Apply(None), Objective(loss, None), made, tx, accumulate=4)

  @jax.jit
  def ranks(number):
    """Directions of B that moved at each site, and those expected."""
    state = TrainState(number, params, {}, tx.init(params), {})
    new, _ = step(state, {'params': {}}, {'x': jnp.zeros(8)}, key)
    moved = [(x[:, 0] != 0).sum() for x in tree.flatten(new.params).values()]
    rng = jax.random.fold_in(key, number)
    keys = [jax.random.fold_in(rng, USES['reparam'])]
    if own:
      rng = jax.random.fold_in(rng, USES['loss'])
      keys = [jax.random.fold_in(rng, i) for i in range(4)]
      keys = [jax.random.fold_in(k, 1) for k in keys]
    drawn = [dylora.sample(k, weights, 1) for k in keys]
    return jnp.stack(moved), jnp.stack(drawn).max()

  found = [jax.device_get(ranks(jnp.int32(number))) for number in range(8)]
  for moved, expected in found:
    assert moved.tolist() == [expected] * len(sites)
  assert len({int(expected) for _, expected in found}) > 1


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  folder = tmp_path_factory.mktemp('dylora')
  train(config(), folder, 0)
  return folder


@pytest.fixture(scope='module')
def run(workdir):
  return open_run.open_run(workdir, splits=None)


def test_every_rank_is_predicted_by_one_program(run):
  batch = next(iter(next(iter(run.bundle.evals.values()))))
  logits = [
    np.asarray(run.at(rank=b).predict_fn(batch)['logits'])
    for b in range(1, RANK + 1)
  ]
  assert all(
    not np.array_equal(one, other) for one, other in zip(logits, logits[1:])
  )
  np.testing.assert_allclose(
    logits[-1], run.predict_fn(batch)['logits'], atol=1e-6
  )
  (program,) = run.parts.programs.values()
  assert program._cache_size() == 1


def test_what_is_merged_at_a_rank_predicts_as_it(run):
  batch = next(iter(next(iter(run.bundle.evals.values()))))
  for b in (1, 3):
    chosen = run.at(rank=b)
    plain = run.parts.plain(chosen.params, batch)['logits']
    np.testing.assert_allclose(
      plain, chosen.predict_fn(batch)['logits'], atol=1e-5
    )


def test_exports_name_the_rank(run, workdir, tmp_path):
  chosen = run.at(rank=3)
  assert 'merged at rank 3' in huggingface.card(chosen, workdir)
  assert 'merged at rank' not in huggingface.card(run, workdir)
  signature = stablehlo.save_stablehlo(
    chosen, tmp_path, batch=1, length=4, platforms=('cpu',)
  )
  assert signature['variant'] == {'rank': 3}


@pytest.mark.parametrize('rank', [0, RANK + 1])
def test_a_rank_that_is_not_there(run, rank):
  with pytest.raises(ValueError, match=f'rank {rank}: .* 1 to {RANK}'):
    run.at(rank=rank)


def test_the_command_prints_a_row_for_each_rank(workdir, tmp_path, capsys):
  flags = (f'--workdir={workdir}', '--ranks=1..3', f'--output={tmp_path}')
  assert status(evaluate, *flags) is None
  text = capsys.readouterr().out
  for b in (1, 2, 3):
    assert f'validation, rank {b} ' in text
    record = json.loads((tmp_path / f'rank_{b}/metrics.json').read_text())
    assert record['variant'] == {'rank': b} and 'accuracy' in str(
      record['metrics']
    )


@pytest.mark.parametrize(
  'text, ranks', [('1..3', (1, 2, 3)), ('2', (2,)), ('1,2,8', (1, 2, 8))]
)
def test_ranks_of_the_command_line(text, ranks):
  assert score.parse_ranks(text) == ranks


@pytest.mark.parametrize('text', ['', 'all', '3..1', '1..', '1;2'])
def test_bad_ranks_of_the_command_line(text):
  with pytest.raises(ValueError, match='expected'):
    score.parse_ranks(text)


def test_a_run_without_ranks_says_so(run):
  parts = dataclasses.replace(run.parts, method=compose([]))
  with pytest.raises(ValueError, match='full fine-tuning has no low-rank'):
    session.truncated(parts, run.host.state, 1)


def test_too_large_a_rank(run):
  apply = run.parts.plain.replace(plugs=method.make(None, rank=99).plugs)
  with pytest.raises(ValueError, match=r'rank=99 exceeds min\(d_in, d_out\)'):
    apply.touched(build_data.example_batch(run.bundle))
