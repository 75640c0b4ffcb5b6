"""DyLoRA's maths on one layer: values, gradients, ranks, what stands still."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from glue_jax.peft import dylora, lora
from tests.conftest import jit
from tests.peft import linear

RANK, ALPHA, WIDTHS = 4, 16.0, (6, 5)
FACTOR = lora.scale(RANK, ALPHA, rank_stabilised=False)
APPLY = linear.apply(lora.plug(linear.SITE, RANK, FACTOR), WIDTHS[1])
RANKS = range(1, RANK + 1)


def params(b=None):
  rng = np.random.default_rng(0)
  draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
  factors = dict(lora_a=draw(WIDTHS[0], RANK), lora_b=draw(RANK, WIDTHS[1]))
  if b is not None:
    factors['lora_b'] = np.full_like(factors['lora_b'], b)
  return linear.tree(kernel=draw(*WIDTHS), bias=draw(WIDTHS[1]), **factors)


X = jnp.asarray(np.random.default_rng(1).normal(size=(3, WIDTHS[0])), 'float32')
output = lambda params: APPLY(params, {'x': X})['y']


@jit
def nested_output(params, active):
  return output(dylora.nested(params, linear.SITE, active))


def test_the_full_rank_is_lora():
  np.testing.assert_allclose(
    nested_output(params(), RANK), output(params()), rtol=1e-6
  )


def test_each_rank_is_its_own_lora():
  for active in RANKS:
    layer = params()['layer']
    factor = lora.scale(active, ALPHA, rank_stabilised=False)
    delta = layer['lora_a'][:, :active] @ layer['lora_b'][:active]
    y = X @ (layer['kernel'] + factor * delta) + layer['bias']
    np.testing.assert_allclose(nested_output(params(), active), y, rtol=1e-4)


def test_the_start_is_the_plain_layer_at_every_rank():
  start = params(b=0)
  plain = X @ start['layer']['kernel'] + start['layer']['bias']
  for active in RANKS:
    np.testing.assert_allclose(nested_output(start, active), plain, rtol=1e-6)


@pytest.mark.parametrize('mode', dylora.MODES)
def test_values_and_zeros_of_the_gradient(mode):
  @jit
  def gradient(params, active):
    return jax.grad(
      lambda p: jnp.square(
        output(dylora.nested(p, linear.SITE, active, mode))
      ).sum()
    )(params)['layer']

  for active in RANKS:
    np.testing.assert_array_equal(
      output(dylora.nested(params(), linear.SITE, active, mode)),
      output(dylora.nested(params(), linear.SITE, active)),
    )
    found = gradient(params(), active)
    norms = (
      np.abs(found['lora_a']).max(0),
      np.abs(found['lora_b']).max(1),
    )
    learns = np.arange(1, RANK + 1) <= active
    if mode == 'frozen':
      learns = np.arange(1, RANK + 1) == active
    for norm in norms:
      np.testing.assert_array_equal(norm > 0, learns)


def test_one_program_serves_all_ranks():
  traced = []

  @jit
  def counted(params, active):
    traced.append(active)
    return output(dylora.nested(params, linear.SITE, active))

  for active in RANKS:
    counted(params(), jnp.int32(active))
  assert len(traced) == 1 < len(RANKS)


def test_merged_gives_the_same_outputs():
  for active in RANKS:
    cut = dylora.nested(params(), linear.SITE, active)
    merged = lora.merge(cut, FACTOR)['layer']
    np.testing.assert_allclose(
      X @ merged['kernel'] + merged['bias'], output(cut), rtol=1e-4, atol=1e-5
    )


def test_other_sites_are_left_alone():
  found = dylora.nested(params(), 'another', 1)['layer']
  np.testing.assert_array_equal(found['lora_a'], params()['layer']['lora_a'])


@pytest.mark.parametrize('distribution', dylora.DISTRIBUTIONS)
def test_ranks_are_drawn_as_asked(distribution):
  weights = dylora.log_weights(distribution, 2, 5, 0.5)
  keys = jax.random.split(jax.random.key(0), 4000)
  ranks = jit(jax.vmap(lambda key: dylora.sample(key, weights, 2)))(keys)
  shares = np.bincount(ranks, minlength=6) / len(keys)
  expected = {'uniform': [1, 1, 1, 1], 'geometric': [8, 4, 2, 1]}[distribution]
  assert shares[:2].sum() == 0
  np.testing.assert_allclose(
    shares[2:], np.array(expected) / sum(expected), atol=0.03
  )


@pytest.mark.parametrize(
  'arguments, message',
  [
    (('poisson', 1, 4, 0.5), "distribution='poisson'"),
    (('uniform', 0, 4, 0.5), 'low=0; expected an integer of 1'),
    (('uniform', 5, 4, 0.5), 'min_rank=5: expected 1 to rank=4'),
    (('geometric', 1, 4, 1.0), 'probability=1.0'),
  ],
)
def test_bad_distributions(arguments, message):
  with pytest.raises(ValueError, match=message):
    dylora.log_weights(*arguments)


def trained(tx, drawn):
  """[(parameters, first moments)] after each step at the ranks drawn."""
  at = lambda p, b: dylora.nested(p, linear.SITE, b, 'frozen')

  @jit
  def step(now, state, active):
    loss = lambda p: jnp.square(output(at(p, active)) - 1).sum()
    updates, state = tx.update(jax.grad(loss)(now), state, now)
    return optax.apply_updates(now, updates), state

  now = params()
  state = jit(tx.init)(now)
  found = []
  for active in drawn:
    now, state = step(now, state, active)
    moments = optax.tree.get(state, 'mu')['layer']
    host = lambda leaves: {n: np.asarray(x) for n, x in leaves.items()}
    found.append((host(now['layer']), host(moments)))
  return found


def test_strict_leaves_what_was_not_drawn_bit_equal():
  adamw = optax.chain(
    optax.clip_by_global_norm(1.0), optax.adamw(1e-2, weight_decay=0.1)
  )
  strict = dylora.strict(adamw, linear.SITE)
  (plain, _), _ = trained(adamw, [2, 4])
  for tx, moves in ((adamw, True), (strict, False)):
    (before, old), (after, new) = trained(tx, [2, 4])
    # What was drawn moves as the optimizer moves it.
    np.testing.assert_array_equal(before['lora_b'][1], plain['lora_b'][1])
    same = [
      np.array_equal(before['lora_b'][:3], after['lora_b'][:3]),
      np.array_equal(before['lora_a'][:, :3], after['lora_a'][:, :3]),
      np.array_equal(old['lora_a'][:, 1], new['lora_a'][:, 1]),
    ]
    assert same == [not moves] * 3
    assert (before['lora_a'][:, 3] != after['lora_a'][:, 3]).all()
    # Other leaves learn as ever.
    assert not np.array_equal(before['kernel'], after['kernel'])
