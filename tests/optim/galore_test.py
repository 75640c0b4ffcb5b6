import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from glue_jax import tree
from glue_jax.optim import adam as moments
from glue_jax.optim import build, galore, projection
from glue_jax.training import train
from glue_jax.training.monitor import NonFinite
from tests.conftest import jit, run_on_devices, tiny_config
from tests.golden import __main__ as golden
from tests.golden import natural_galore

SHAPES = {
  'layer_0/tall/kernel': (12, 7),
  'layer_0/wide/kernel': (7, 12),
  'layer_0/square/kernel': (6, 6),
  'layer_0/tall/bias': (7,),
  'embedding': (8, 3),
}
PARAMS = tree.unflatten({n: jnp.zeros(shape) for n, shape in SHAPES.items()})
STEPS, GAP, RANK = 5, 3, 3
GALORE = dict(rank=RANK, update_proj_gap=GAP, scale=0.25)


def gradients():
  rng = np.random.default_rng(0)
  return tree.map_named(
    lambda _, x: jnp.asarray(rng.normal(size=(STEPS, *x.shape)), jnp.float32),
    PARAMS,
  )


def run(tx, grads=None, compiled=True):
  """Updates of every step, {name: (STEPS, ...)}, and the last state."""

  def step(state, g):
    updates, state = tx.update(g, state, PARAMS)
    return state, updates

  grads = gradients() if grads is None else grads
  if compiled:
    scan = jit(lambda state, g: jax.lax.scan(step, state, g))
    state, updates = scan(tx.init(PARAMS), grads)
  else:
    state, found = tx.init(PARAMS), []
    for i in range(STEPS):
      state, update = step(state, jax.tree.map(lambda g, i=i: g[i], grads))
      found.append(update)
    updates = jax.tree.map(lambda *x: jnp.stack(x), *found)
  return tree.flatten(updates), state


def assert_close(a, b, atol, steps=slice(None)):
  assert a.keys() == b.keys()
  for name in a:
    np.testing.assert_allclose(
      a[name][steps], b[name][steps], atol=atol, err_msg=name
    )


@functools.cache
def reference():
  return run(galore.core(**GALORE))


@pytest.mark.parametrize(
  'name', ['adamw_reference', 'galore_reverse_tall', 'galore_wide']
)
def test_golden(name):
  path = golden.OWN / 'natural-galore' / f'{name}.npz'
  assert golden.check_file(natural_galore, 'natural-galore', path)


def test_full_rank_and_plain_descent_inside_change_nothing():
  targets = [(n, {'rank': min(s)}) for n, s in SHAPES.items() if len(s) > 1]
  tx = galore.scale_by_galore(optax.identity(), scale=1.0, targets=targets)
  assert_close(run(tx)[0], tree.flatten(gradients()), 1e-5)


def test_only_targets_are_projected_and_scaled():
  updates, state = reference()
  adam, _ = run(moments.scale_by_adam())
  for name in ('layer_0/tall/bias', 'embedding'):
    np.testing.assert_allclose(updates[name], adam[name], atol=1e-6)
  for name, value in updates.items():
    if name.endswith('kernel'):
      assert np.linalg.matrix_rank(value[-1], tol=1e-4) == RANK
  assert set(tree.flatten(state.right)) == {
    f'layer_0/{n}/kernel' for n in ('tall', 'square')
  }
  assert set(tree.flatten(state.left)) == {'layer_0/wide/kernel'}


def test_a_stack_of_matrices_is_projected_one_by_one():
  tx = galore.core(**GALORE)
  grads = np.random.default_rng(1).normal(size=(4, 2, 9, 5))
  tree_of = lambda g: {'layer_0': {'kernel': jnp.asarray(g, jnp.float32)}}

  @jit
  def last(grads):
    state = tx.init(tree_of(grads[0]))
    for g in grads:
      update, state = tx.update(tree_of(g), state)
    return update['layer_0']['kernel']

  both = last(grads)
  for i in range(2):
    np.testing.assert_allclose(last(grads[:, i]), both[i], atol=1e-5)


def test_signs_matter_only_after_a_refresh():
  tx = galore.core(**GALORE)
  step = jit(tx.update)
  grads = [
    jax.tree.map(
      lambda g, i=i: g[i], {'layer_0': gradients()['layer_0']['tall']}
    )
    for i in range(STEPS)
  ]
  _, state = step(grads[0], tx.init(jax.tree.map(jnp.zeros_like, grads[0])))
  # One vector of the first refresh the other way round, moments with it.
  signs = jnp.array([1.0, -1.0, 1.0])
  mu = state.inner.mu['layer_0']
  other = state._replace(
    right=jax.tree.map(lambda v: v * signs[:, None], state.right),
    inner=state.inner._replace(
      mu={'layer_0': dict(mu, kernel=mu['kernel'] * signs)}
    ),
  )
  for i in range(1, STEPS):
    ours, state = step(grads[i], state)
    theirs, other = step(grads[i], other)
    ours, theirs = (x['layer_0']['kernel'] for x in (ours, theirs))
    gap = np.abs(ours - theirs).max()
    assert gap < 1e-6 if i < GAP else gap > 1e-2, i


def test_it_agrees_with_optax(monkeypatch):
  # optax leaves the signs as the decomposition gives them.
  monkeypatch.setattr(projection, '_fix_signs', lambda v, axis: v)
  adam = optax.scale_by_adam(eps=1e-6)
  ours, _ = run(
    galore.scale_by_galore(
      adam, projection='reverse_std', targets=('.*kernel', 'emb.*'), **GALORE
    )
  )
  peer = optax.contrib.scale_by_galore(
    RANK, GAP, GALORE['scale'], base_optimizer=adam
  )
  theirs, _ = run(peer)
  assert_close(ours, theirs, 2e-5)


def test_state_sizes():
  r = RANK
  for side, kept in (
    ('std', lambda small, big: small * r + 2 * big * r),
    ('reverse_std', lambda small, big: big * r + 2 * small * r),
    ('full', lambda small, big: (small + big) * r + 2 * r * r),
  ):
    tx = galore.core(projection=side, **GALORE)
    state = jax.eval_shape(tx.init, PARAMS)
    count = sum(x.size for x in jax.tree.leaves(state))
    expected = 2 + 2 * (7 + 24)  # two counters; moments of what isn't projected
    expected += 2 * kept(7, 12) + kept(6, 6)
    assert count == expected, side


def test_jit_changes_nothing():
  assert_close(
    run(galore.core(**GALORE), compiled=False)[0], reference()[0], 1e-6
  )


def test_eight_devices_agree_with_one():
  script = pathlib.Path(__file__).with_name('_galore_devices.py').read_text()
  assert run_on_devices(script).split()[-1] == 'same'


def test_decay_is_of_the_weights_after_the_step():
  w, lr, decay = jnp.full((4, 4), 2.0), 0.1, 0.5
  tx = galore.galore(
    lambda step: lr / (1 + step),
    weight_decay=decay, inner=optax.identity(), rank=4, scale=1.0,
    targets=('w',),
  )  # fmt: skip
  state = tx.init({'w': w})
  for rate in (lr, lr / 2):
    update, state = tx.update({'w': jnp.eye(4)}, state, {'w': w})
    stepped = w - rate * jnp.eye(4)
    np.testing.assert_allclose(
      w + update['w'], stepped - rate * decay * stepped, atol=1e-6
    )


def test_a_decomposition_that_fails_stops_the_run(monkeypatch, tmp_path):
  # Finite gradients, and a decomposition that doesn't converge.
  failing = lambda g, rank, key: tuple(
    x * jnp.nan for x in projection._svd(g, rank, key)
  )
  monkeypatch.setitem(projection.SOLVERS, 'svd', failing)
  optimizer = dict(
    name='galore', args=dict(rank=2, targets=('.*query/kernel',))
  )
  config = tiny_config(optimizer=optimizer, model=dict(num_layers=1))
  with pytest.raises(NonFinite, match="step 1: the optimizer's update is not"):
    train.train(config, tmp_path, 0)


@pytest.mark.parametrize(
  'clip_norm, bound', [(None, (0, 0.3)), (1.0, (0.9, 2))]
)
def test_each_gradient_is_freed_once_it_is_projected(clip_norm, bound):
  """Compiled temporary memory that a layer adds, in gradients of a layer.

  Clipping by the global norm needs all gradients before the first is used.
  """
  width = 64

  def temporary(layers):
    params = {
      f'layer_{i}': {'kernel': jax.ShapeDtypeStruct((width, width), 'float32')}
      for i in range(layers)
    }
    tx, _ = build.make(
      total_steps=9, names=tree.flatten(params), name='galore',
      clip_norm=clip_norm, args=dict(rank=4, update_proj_gap=5),
    )  # fmt: skip

    def loss(params, x):
      for i in range(layers):
        x = jnp.tanh(x @ params[f'layer_{i}']['kernel'])
      return (x**2).sum()

    def step(params, state, x):
      grads = jax.grad(loss)(params, x)
      updates, state = tx.update(grads, state, params)
      return optax.apply_updates(params, updates), state, optax.tree.norm(grads)

    state = jax.eval_shape(tx.init, params)
    x = jax.ShapeDtypeStruct((2, width), 'float32')
    program = jax.jit(step, donate_argnums=(0, 1)).lower(params, state, x)
    return program.compile().memory_analysis().temp_size_in_bytes

  growth = (temporary(10) - temporary(4)) / 6 / (4 * width**2)
  assert bound[0] <= growth < bound[1]


def test_8_bit_moments_are_small_and_close():
  params = {'layer_0': {'kernel': jnp.zeros((96, 64))}}
  kwargs = dict(rank=48, update_proj_gap=100)
  full, small = galore.core(**kwargs), galore.core(bits=8, **kwargs)
  states = full.init(params), small.init(params)
  sizes = [
    tree.nbytes({str(i): x for i, x in enumerate(jax.tree.leaves(s.inner))})
    for s in states
  ]
  # Codes, and a float32 scale for each 256 of them.
  assert sizes[1] - 4 == pytest.approx((sizes[0] - 4) * (1 / 4 + 1 / 256), 0.01)
  rng = np.random.default_rng(0)
  wanted = jnp.asarray(rng.normal(size=(96, 64)), jnp.float32)
  steps = [jit(tx.update) for tx in (full, small)]
  a, b = states
  for _ in range(10):
    noise = jnp.asarray(rng.normal(size=(96, 64)), jnp.float32)
    g = {'layer_0': {'kernel': wanted + 0.3 * noise}}
    (ours, a), (theirs, b) = steps[0](g, a), steps[1](g, b)
  ours, theirs = (x['layer_0']['kernel'] for x in (ours, theirs))
  error = jnp.linalg.norm(ours - theirs) / jnp.linalg.norm(ours)
  assert 0 < error < 0.05


@pytest.mark.parametrize(
  'kwargs, message',
  [
    (dict(rank=8), r'rank 8 is over the size of layer_0/tall/kernel \(12, 7\)'),
    (dict(rank=0), 'rank=0; expected an integer of 1'),
    (dict(update_proj_gap=0), 'update_proj_gap=0; expected'),
    (dict(projection='both'), "projection='both'; expected 'std'"),
    (dict(solver='qr'), "solver='qr'; expected one of"),
    (dict(targets=('head/.*',)), 'match none of the leaves that learn'),
    (dict(targets=(('.*kernel', {'rnk': 2}),)), r"unknown keys \['rnk'\]"),
    (dict(targets=('.*bias',), rank=1), r'tall/bias \(7,\) is no matrix'),
    (dict(bits=4), 'bits=4; expected 8 or 32'),
  ],
)
def test_bad_input_is_named_before_any_step(kwargs, message):
  with pytest.raises(ValueError, match=message):
    galore.core(**({'rank': 2} | kwargs)).init(PARAMS)


@pytest.mark.parametrize(
  'args, message',
  [
    (
      dict(rnk=2),
      r"config.optimizer.args: nothing reads \['rnk'\]; known .*'rank'",
    ),
    (dict(rank=2, targets=('haed/.*',)), "'haed/.\\*' matches none"),
    (
      dict(targets=(('.*kernel', {'rank': 0}),)),
      "config.optimizer.args: target '.*kernel': rank=0; expected an integer",
    ),
  ],
)
def test_a_config_is_checked(args, message):
  names = list(SHAPES)
  with pytest.raises(ValueError, match=message):
    build.make(total_steps=4, names=names, name='galore', args=args)
