"""Hydra's block: its laws, its start, and its errors."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.layers import spec
from glue_jax.layers.context import BatchContext
from glue_jax.layers.mixers import hydra
from glue_jax.layers.spec import EncoderConfig, freeze
from glue_jax.optim import build as optim
from tests.conftest import jit

CONFIG = EncoderConfig(hidden_size=12, init_range=0.3)
SIZES = dict(state_size=4, head_dim=6, groups=2, chunk=4)
LENGTH = 11


def build(**options):
  return hydra.Mixer(CONFIG, **SIZES | options)


def setting(block, rows=3, seed=0):
  rng = np.random.default_rng(seed)
  x = jnp.asarray(rng.normal(size=(rows, LENGTH, 12)), jnp.float32)
  context = BatchContext(jnp.ones((rows, LENGTH), bool))
  init = jit(lambda: block.init(jax.random.key(seed), x, context, False))
  params = init()['params']

  # Values as after training: nothing at its neutral start.
  def noise(y):
    return y + jnp.asarray(0.3 * rng.normal(size=y.shape), y.dtype)

  return x, context, jax.tree.map(noise, params)


def run(block, params, x, context):
  return np.asarray(_apply(block, params, x, context))


@functools.partial(jit, static_argnums=0)
def _apply(block, params, x, context):
  return block.apply({'params': params}, x, context, False)


def test_strict_padding_leaves_no_trace_and_official_padding_does():
  differences = {}
  for mode in ('strict', 'official'):
    block = build(pad_mode=mode, bias=True)
    x, context, params = setting(block)
    mask = jnp.arange(LENGTH) < jnp.array([LENGTH, 7, 1])[:, None]
    whole = run(block, params, x, BatchContext(mask))
    other = run(
      block, params, jnp.where(mask[..., None], x, 9.0), BatchContext(mask)
    )
    np.testing.assert_array_equal(
      *(np.where(mask[..., None], y, 0) for y in (whole, other))
    )
    cut = BatchContext(jnp.ones((1, 7), bool))
    short = run(block, params, x[1:2, :7], cut)
    differences[mode] = np.abs(short - whole[1:2, :7]).max()
  assert differences['strict'] < 1e-6
  assert differences['official'] > 1e-3


def test_rows_do_not_see_each_other():
  block = build()
  x, context, params = setting(block)
  whole = run(block, params, x, context)
  for i in range(len(x)):
    alone = run(block, params, x[i : i + 1], BatchContext(context.mask[:1]))
    np.testing.assert_allclose(alone[0], whole[i], atol=2e-6)


def test_a_row_of_nothing_but_padding_stays_finite():
  block = build(bias=True)
  x, context, params = setting(block)
  context = BatchContext(context.mask.at[1].set(False))

  def loss(params):
    return jnp.sum(block.apply({'params': params}, x, context, False) ** 2)

  gradients = jit(jax.grad(loss))(params)
  assert all(np.isfinite(y).all() for y in jax.tree.leaves(gradients))


def test_bfloat16_is_float32_to_its_precision():
  block = build()
  x, context, params = setting(block)
  exact = run(block, params, x, context)
  half = build().clone(config=dataclasses.replace(CONFIG, dtype='bfloat16'))
  rough = run(half, params, x, context).astype(np.float32)
  scale = np.abs(exact).max()
  assert 0 < np.abs(rough - exact).max() < 0.05 * scale


def test_reversed_input_and_swapped_directions_reverse_the_output():
  block = build(bias=True, learn_initial_state=True)
  x, context, params = setting(block)
  whole = run(block, params, x, context)
  inner, heads, width = 24, 4, 2 * 2 * 4
  # z | x | forward B C | backward B C | forward dt | backward dt.
  order = np.arange(2 * inner + 2 * width + 2 * heads)
  first = 2 * inner
  order[first : first + 2 * width] = np.roll(
    order[first : first + 2 * width], width
  )
  order[-2 * heads :] = np.roll(order[-2 * heads :], heads)
  flat = tree.flatten(params)
  flat['in_proj/kernel'] = flat['in_proj/kernel'][:, order]
  flat['in_proj/bias'] = flat['in_proj/bias'][order]
  channels = order[inner : -2 * heads] - inner
  flat['conv1d/kernel'] = flat['conv1d/kernel'][::-1][..., channels]
  flat['conv1d/bias'] = flat['conv1d/bias'][channels]
  swapped = run(block, tree.unflatten(flat), x[:, ::-1], context)
  scale = np.abs(whole).max()
  np.testing.assert_allclose(swapped[:, ::-1], whole, atol=1e-5 * scale)
  assert np.abs(whole[:, ::-1] - whole).max() > 0.1


def test_the_start_is_the_published_one():
  block = build(learn_initial_state=True)
  x = jnp.zeros((1, 2, 12))
  context = BatchContext(jnp.ones((1, 2), bool))
  init = jit(lambda: block.init(jax.random.key(3), x, context, False))
  params = init()['params']
  step = jax.nn.softplus(params['dt_bias'])
  assert ((step >= 9e-4) & (step <= 0.101)).all()
  np.testing.assert_array_equal(params['A_log'], np.zeros(4))
  np.testing.assert_array_equal(params['D'], np.ones(4))
  assert not params['init_states'].any()


def test_decays_skips_and_start_are_not_decayed():
  block = build(learn_initial_state=True, bias=True)
  _, _, params = setting(block)
  names = list(tree.flatten(params))
  tx, _ = optim.make(
    total_steps=10, names=names, lr=1.0, warmup=0.0, weight_decay=0.5
  )
  zero = jax.tree.map(jnp.zeros_like, params)
  updates, _ = tx.update(zero, tx.init(params), params)
  moved = {n for n, u in tree.flatten(updates).items() if u.any()}
  kernels = {'in_proj', 'conv1d', 'fc_D', 'out_proj'}
  assert moved == {f'{n}/kernel' for n in kernels}


def test_step_sizes_are_clipped():
  block = build()
  x, context, params = setting(block)
  near = build(dt_limit=(0.0, 1e9))
  np.testing.assert_array_equal(
    run(near, params, x, context), run(block, params, x, context)
  )
  # No step at all: only the diagonal is left, so tokens are apart but for the
  # convolution's reach of 3.
  still = build(dt_limit=(0.0, 0.0))
  y = run(still, params, x, context)
  z = run(still, params, x.at[:, 0].set(5.0), context)
  assert np.abs(y - z)[:, 3].max() > 0
  np.testing.assert_array_equal(y[:, 4:], z[:, 4:])


@pytest.mark.parametrize(
  'options,message',
  [
    (dict(state_size=0), 'state_size=0: expected a positive number'),
    (dict(head_dim=7), 'head_dim=7 does not divide expand'),
    (dict(groups=3), 'groups=3 does not divide 4 heads'),
    (dict(kernel_size=4), 'kernel_size=4: expected an odd number'),
    (dict(pad_mode='none'), "pad_mode='none'; expected one of"),
    (dict(width=4), r"nothing reads \['width'\]"),
  ],
)
def test_mistakes_are_named(options, message):
  config = dataclasses.replace(
    CONFIG, options=freeze({'hydra': SIZES | options})
  )
  with pytest.raises(ValueError, match=message):
    spec.make('mixer', 'hydra', config).init(
      jax.random.key(0),
      jnp.zeros((1, 2, 12)),
      BatchContext(jnp.ones((1, 2), bool)),
      False,
    )
