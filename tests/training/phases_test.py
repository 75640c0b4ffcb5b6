"""Phases of a step, against the updates written out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from glue_jax.method import Method, Objective, Phase
from glue_jax.optim import build
from glue_jax.plugs import Apply
from glue_jax.training import gradients, phases
from glue_jax.training.state import TrainState
from glue_jax.training.step import make_step
from tests.quick import jit

ROWS = np.array([0.5, -1.0, 2.0, 3.0], np.float32)
RATE = 0.1
START = {'first': {'a': jnp.float32(1.5)}, 'second': {'b': jnp.float32(0.3)}}


def row_mean(x, batch):
  """A mean whose weights differ from micro-batch to micro-batch."""
  weight = batch['weight']
  total, count = (x * weight).sum(), weight.sum()
  return total / count, {'loss': (total, count)}


def first(apply, params, batch, rng):
  a = params['first']['a']
  carry = {'x': batch['x'] * a, 'seen': jnp.stack([batch['x'], batch['x']], 1)}
  return *row_mean((a * batch['x'] - 1) ** 2, batch), carry


def second(apply, params, batch, rng):
  a, b = params['first']['a'], params['second']['b']
  x, seen = batch['x'], batch['seen'][:, 1]
  return *row_mean((a * b * x - seen) ** 2, batch), {}


def by_hand(a, b, weight, repeat):
  """SGD of the first, then of the second, which sees what moved."""
  mean = lambda x: (x * weight).sum() / weight.sum()
  for _ in range(repeat):
    carried = ROWS * a
    a = a - RATE * mean(2 * (a * ROWS - 1) * ROWS)
  slope = mean(2 * (a * b * carried - ROWS) * a * carried)
  return a, b - RATE * slope, mean((a * b * carried - ROWS) ** 2)


@pytest.mark.parametrize('accumulate, repeat', [(1, 1), (2, 1), (2, 3)])
def test_each_phase_sees_what_the_one_before_has_moved(accumulate, repeat):
  objective = Objective(None, None, terms={'of the one loss': 1.0}, phases={
    'one': Phase(first, ('first/.*',), repeat),
    'two': Phase(second, ('second/.*',)),
  })  # fmt: skip
  tx = phases.Optimizers(
    objective.phases, dict.fromkeys(objective.phases, optax.sgd(RATE))
  )
  step = make_step(
    Apply(None), objective, Method('none'), tx, accumulate=accumulate
  )
  weight = np.array([1, 1, 0, 1], np.float32)
  state = TrainState(jnp.int32(0), START, {}, tx.init(START), {})
  batch = {'x': ROWS, 'weight': weight}
  new, metrics = jit(step)(state, {'params': {}}, batch, jax.random.key(0))
  a, b, loss = by_hand(1.5, 0.3, weight, repeat)
  np.testing.assert_allclose(new.params['first']['a'], a, rtol=1e-5)
  np.testing.assert_allclose(new.params['second']['b'], b, rtol=1e-5)
  assert sorted(metrics) == [
    'finite', 'grad_norm', 'loss', 'one/loss', 'two/loss',
  ]  # fmt: skip
  np.testing.assert_allclose(np.divide(*metrics['two/loss']), loss, rtol=1e-5)
  assert metrics['one/loss'][1] == 3 * repeat
  total = gradients.mean(metrics, 'one/loss') + loss
  np.testing.assert_allclose(np.divide(*metrics['loss']), total, rtol=1e-5)


def test_a_step_that_is_not_finite_in_one_phase_moves_none():
  def broken(apply, params, batch, rng):
    total, metrics, carry = second(apply, params, batch, rng)
    return total * jnp.inf, metrics, carry

  made = {
    'one': Phase(first, ('first/.*',)),
    'two': Phase(broken, ('second/.*',)),
  }
  tx = phases.Optimizers(made, dict.fromkeys(made, optax.adam(RATE)))
  step = make_step(
    Apply(None),
    Objective(None, None, phases=made),
    Method('none'),
    tx,
    nonfinite='skip',
  )
  state = TrainState(jnp.int32(0), START, {}, tx.init(START), {})
  batch = {'x': ROWS, 'weight': np.ones(4, np.float32)}
  new, metrics = jit(step)(state, {'params': {}}, batch, jax.random.key(0))
  assert not metrics['finite'] and new.step == 1
  jax.tree.map(
    np.testing.assert_array_equal, new.replace(step=state.step), state
  )


def test_a_carry_has_a_row_an_example():
  def loss(params, batch, rng):
    total, metrics = row_mean(params * batch['x'], batch)
    return total, metrics, {'whole': batch['x'].sum()}

  batch = {'x': jnp.asarray(ROWS), 'weight': jnp.ones(4)}
  with pytest.raises(
    ValueError, match=r'carries whole of shape \(\) .* 2 rows'
  ):
    gradients.gradients(
      loss, jnp.float32(1), batch, jax.random.key(0), 2, (), {}
    )


NAMES = ['first/a', 'second/b']
PAIR = {
  'one': Phase(first, ('first/.*',), 4),
  'two': Phase(second, ('second/.*',)),
}


def made(pair=PAIR, settings=None, method=None):
  def make(**changes):
    given = dict(
      name='sgd', lr=1.0, warmup=0.0, weight_decay=0.0, args=dict(decay=0.0)
    )
    return build.make(total_steps=4, names=NAMES, **given | changes)

  method = method or Method('all', learns=lambda names, _: set(names))
  objective = Objective(None, None, phases=pair)
  return phases.optimizers(objective, settings or {}, method, NAMES, make)


def test_phases_clip_apart_and_keep_the_rate_of_the_step():
  optimizers, rates = made(settings={'two': dict(lr=0.5, clip_norm=None)})
  grads = jax.tree.map(lambda x: 10 * jnp.ones_like(x), START)
  state, moves = optimizers.init(START), []
  assert sorted(state) == ['one', 'two']
  for name, tx in optimizers.by_phase.items():
    grad, _ = phases.moved(PAIR[name], grads)
    slots, own = state[name], []
    for _ in range(8):
      move, slots = tx.update(grad, slots, grad)
      own.append(float(jax.tree.leaves(move)[0]))
    moves.append(own)
  # Four updates a step, each of norm 1; one of norm 10 at half the rate.
  np.testing.assert_allclose(moves[0], [-1] * 4 + [-0.75] * 4)
  np.testing.assert_allclose(moves[1][:4], [-5, -3.75, -2.5, -1.25])
  assert rates['one/lr'](1) == 0.75


@pytest.mark.parametrize(
  'message, change',
  [
    (r"has \['three'\]; .* \['one', 'two'\]", dict(settings={'three': {}})),
    ('second/b.* 1 leaves in all', dict(pair={'one': PAIR['one']})),
    ('matches none', dict(pair=PAIR | {'x': Phase(first, ('third/.*',))})),
    (r'ema \(wrap_tx\)', dict(method=Method('ema', wrap_tx=lambda tx: tx))),
  ],
)  # fmt: skip
def test_phases_that_do_not_fit_are_refused(message, change):
  with pytest.raises(ValueError, match=message):
    made(**change)
