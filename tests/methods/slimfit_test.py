"""SlimFit in tiny runs: schedule, frozen leaves and their moments, resuming."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.devices import cpu, sharding
from glue_jax.optim import layer_schedule
from glue_jax.training import checkpoint, session
from glue_jax.training.begin import begin
from tests.conftest import QUICK, tiny_config


def run_of(*methods, **changes):
  """A tiny run whose steps can be taken one by one."""
  model = dict(num_layers=1, **changes.pop('model', {}))
  config = tiny_config(methods=methods, model=model, **changes)
  return begin(config, 0, total=4)


def choose(run):
  """Hooks and the split; returns the names of the leaves that learn."""
  with sharding.enter(run.parts.mesh):
    run.prepare()
  return set(tree.flatten(run.host.state.params))


def take_step(run):
  """Trains on the next batch; returns the metrics."""
  with sharding.enter(run.parts.mesh):
    return run.step(run.parts.bundle.train.batch(run.host.step))


@pytest.fixture(scope='module', autouse=True)
def quick():
  """Programs that run a few times aren't worth optimizing."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(cpu, 'compiler_options', lambda: QUICK)
    yield


@pytest.fixture(scope='module')
def run():
  # A high rate of decay: a frozen leaf that decayed would show.
  return run_of(
    ('slimfit', dict(freezing_rate=0.6, refresh=1, masks=3)),
    optimizer=dict(lr=1e-2, weight_decay=0.5),
  )


def everything(state):
  """{path: array} of parameters and optimizer, wherever they are."""
  flat = tree.flatten(state.all_params())
  flat |= tree.paths(state.opt_state)
  flat |= tree.flatten(state.frozen['opt_state'])
  return {name: np.asarray(x) for name, x in flat.items()}


def test_a_run(run, tmp_path):
  names = [n for n in run.parts.names if not n.endswith('bias')]
  assert len(names) == 14
  one, seen, updates = run.afresh(), set(), dict.fromkeys(names, 0)
  host = one.host
  for number in range(4):
    if number == 2:
      saved = checkpoint.Checkpoints(tmp_path)
      saved.save('last', 2, host.state, session.notes(host, {}, {}))
    learning = choose(one)
    before = everything(host.state)
    assert all(n in learning for n in run.parts.names if n.endswith('bias'))
    active = learning & set(names)
    assert len(active) == 14 - int(0.6 * 14)
    metrics = take_step(one)
    assert bool(metrics['finite'])
    after = everything(host.state)
    assert before.keys() == after.keys()
    frozen = set(names) - active
    for path, value in before.items():
      owner = next((n for n in frozen if path.endswith(f'/{n}')), path)
      if owner in frozen or any(f'/{n}/count' in f'/{path}' for n in frozen):
        np.testing.assert_array_equal(after[path], value, err_msg=path)
    for name in active:
      updates[name] += 1
      assert not np.array_equal(after[name], before[name]), name
    counts = {n: int(x) for n, x in after.items() if n.endswith('/count')}
    for name, times in updates.items():
      (found,) = (v for p, v in counts.items() if f'/{name}/count' in f'/{p}')
      assert found == times
    seen |= active
    if number == 2:
      # Each has learnt once before any learns twice on the strength of its
      # distance; the fourth step takes the nearest of three choices.
      assert seen == set(names)
  assert len(host.memory['slimfit_choices']) == 3
  assert run.programs.traces == 3 and run.programs.seconds > 0

  again = run.afresh()
  with sharding.enter(run.parts.mesh):
    session.restore(saved, run.parts, run.tx, again.host)
  for _ in range(2):
    choose(again)
    take_step(again)
  for a, b in zip(
    jax.tree.leaves(host.state), jax.tree.leaves(again.host.state)
  ):
    np.testing.assert_array_equal(a, b)
  assert run.programs.traces == 3


def test_equally_near_choices_take_turns(run, monkeypatch):
  wanted = iter([[0, 1], [2, 3], [4, 5], *4 * [[0, 2, 4]]])
  monkeypatch.setattr(
    layer_schedule,
    'frozen_layers',
    lambda priority, _: ~np.isin(np.arange(len(priority)), next(wanted)),
  )
  host, taken = run.afresh().host, []
  for host.step in range(7):
    for hook in run.parts.method.hooks:
      hook.before_step(host)
    taken.append(host.variant['slimfit'])
  assert len(set(taken[:3])) == 3
  assert taken[3:] == [*taken[:3], taken[0]]


def test_values_are_those_of_the_plain_model_while_training(run):
  parts, key = run.parts, jax.random.key(3)
  params = jax.tree.map(jnp.copy, run.afresh().host.state.all_params())
  batch = parts.bundle.train.batch(0)
  logits = lambda apply: jax.jit(
    lambda p: apply(p, batch, True, key)['logits'], compiler_options=QUICK
  )(params)
  np.testing.assert_array_equal(logits(parts.apply), logits(parts.plain))


def test_without_freezing_and_compression_it_is_plain_fine_tuning():
  ours = run_of(('slimfit', dict(freezing_rate=0.0, compress=())))
  plain = run_of()
  for _ in range(2):
    choose(ours)
    take_step(ours)
    take_step(plain)
  a, b = (tree.flatten(r.host.state.all_params()) for r in (ours, plain))
  for name, value in b.items():
    np.testing.assert_allclose(a[name], value, atol=1e-6, err_msg=name)
  assert ours.programs.traces == 1


@pytest.mark.parametrize(
  'arguments,text',
  [
    (dict(freezing_rate=0.9, masks=5), 'it takes 7 until each of the 14'),
    (dict(compress=('gelu', 'relu')), "expected some of .*'ffn_out'"),
  ],
)
def test_refuses(arguments, text):
  with pytest.raises(ValueError, match=text):
    run_of(('slimfit', arguments))


def test_refuses_another_activation():
  with pytest.raises(ValueError, match="model.activation='relu'"):
    run_of(('slimfit', {}), model=dict(activation='relu'))


def test_refuses_layers_that_another_method_freezes():
  with pytest.raises(ValueError, match='slimfit .* but lora leaves them'):
    run_of(('lora', dict(rank=2)), ('slimfit', {}))
