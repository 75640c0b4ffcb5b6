"""Disentangled attention runs its terms of position by any form of the kernel.

That the reference's are right is in the golden vectors.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.kernels.disentangled import disentangled as kernel
from glue_jax.layers.context import BatchContext
from glue_jax.layers.mixers import disentangled
from glue_jax.models import deberta_v2
from tests.quick import jit

CONFIG = dataclasses.replace(
  deberta_v2.PRESETS['tiny'], hidden_size=12, num_heads=3, head_dim=None
)
LENGTH = 11
REAL = np.arange(LENGTH) < np.array([[LENGTH], [6]])


def outcome(mixer, queries=None):
  """Outputs at real tokens, and gradients of parameters, text and table."""
  rng = np.random.default_rng(0)
  x = jnp.asarray(rng.normal(size=(*REAL.shape, 12)), jnp.float32)
  size = 2 * (mixer.buckets or mixer.span)
  table = jnp.asarray(rng.normal(size=(size, 12)), jnp.float32)
  low = jnp.finfo(jnp.float32).min
  bias = jnp.where(REAL, 0.0, low)[:, None, None]

  context = BatchContext(mask=jnp.asarray(REAL), bias=bias, queries=queries)

  def loss(params, x, table):
    out = mixer.apply(params, x, context.replace(relative=table), False)
    out = jnp.where(REAL[:, :queries, None], out, 0)
    return jnp.sum(jnp.sin(jnp.arange(out.size)) * out.reshape(-1)), out

  params = jit(
    lambda: mixer.init(
      jax.random.key(0), x, context.replace(relative=table), False
    )
  )()
  return jit(jax.grad(loss, (0, 1, 2), has_aux=True))(params, x, table)


@pytest.mark.parametrize('form', ['tpu', 'gpu'])
@pytest.mark.parametrize(
  'options,queries',
  [
    (dict(buckets=4, span=8), None),
    (dict(buckets=0, span=5, share_key=False), 1),
    (dict(buckets=8, span=16, terms=('p2c',)), None),
  ],
)
def test_kernels_give_what_the_reference_gives(
  monkeypatch, form, options, queries
):
  mixer = disentangled.Mixer(CONFIG, **options)
  expected = outcome(mixer, queries)
  monkeypatch.setattr(
    disentangled,
    'position_scores',
    functools.partial(
      kernel.position_scores, implementation=form, interpret=True
    ),
  )
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=2e-5),
    outcome(mixer, queries),
    expected,
  )


def test_text_behind_the_end_changes_nothing():
  """Nor does how much of the table a length meets."""
  mixer = disentangled.Mixer(CONFIG, buckets=4, span=8)
  rng = np.random.default_rng(1)
  x = jnp.asarray(rng.normal(size=(1, LENGTH, 12)), jnp.float32)
  table = jnp.asarray(rng.normal(size=(8, 12)), jnp.float32)
  low = jnp.finfo(jnp.float32).min

  def context(length):
    real = jnp.arange(length)[None] < 5
    bias = jnp.where(real, 0.0, low)[:, None, None]
    return BatchContext(mask=real, bias=bias, relative=table)

  def both():
    params = mixer.init(jax.random.key(0), x, context(LENGTH), False)
    whole = mixer.apply(params, x, context(LENGTH), False)
    return whole, mixer.apply(params, x[:, :6], context(6), False)

  whole, short = jit(both)()
  np.testing.assert_allclose(whole[:, :5], short[:, :5], atol=1e-6)
