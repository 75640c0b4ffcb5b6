"""The eight matrices behind one interface: laws of each class."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.layers.context import BatchContext
from glue_jax.layers.mixers import matrices, matrix_mixer
from glue_jax.layers.spec import EncoderConfig
from tests.conftest import jit

CONFIG = EncoderConfig(hidden_size=8, init_range=0.3, max_positions=9)
ALL = [
  (name, form)
  for name in matrices.MATRICES
  for form in (False, True)
  if (name, form) != ('dense', True)
]


def build(name, data_dependent=True, **options):
  return matrix_mixer.Mixer(
    CONFIG, matrix=name, data_dependent=data_dependent, qk_dim=2, head_dim=4,
    chunk=4, **options,
  )  # fmt: skip


def setting(mixer, length=9):
  rng = np.random.default_rng(0)
  x = jnp.asarray(rng.normal(size=(2, length, 8)), jnp.float32)
  context = BatchContext(jnp.ones((2, length), bool))
  init = jit(lambda: mixer.init(jax.random.key(0), x, context, False))
  params = init()['params']

  def noise(y):
    return y + jnp.asarray(0.3 * rng.normal(size=y.shape), y.dtype)

  return x, context, jax.tree.map(noise, params)


@pytest.mark.parametrize('name,form', ALL)
def test_padding_and_other_rows_leave_no_trace(name, form):
  mixer = build(name, form)
  x, _, params = setting(mixer)
  run = jit(
    lambda x, mask: mixer.apply(
      {'params': params}, x, BatchContext(mask), False
    )
  )
  mask = jnp.arange(9) < jnp.array([9, 5])[:, None]
  whole = np.asarray(run(x, mask))
  assert whole.shape == x.shape and np.isfinite(whole).all()
  if name != 'toeplitz':  # its coefficients' length would be another
    alone = run(x[1:, :5], mask[1:, :5])
    np.testing.assert_allclose(alone[0], whole[1, :5], atol=3e-6)
  other = run(jnp.where(mask[..., None], x, 7.0), mask)
  np.testing.assert_allclose(other[1, :5], whole[1, :5], atol=3e-6)


def matrix_of(name, features, form=True, **options):
  """M itself, by mixing the unit vectors."""
  length = features.shape[1]
  cls = matrices.MATRICES[name](
    heads=2, qk_dim=2, max_length=9, data_dependent=form, **options
  )
  unit = jnp.broadcast_to(jnp.eye(length)[:, None], (length, 2, length))
  mask = jnp.ones((1, length), bool)
  steps = jnp.zeros((1, length, cls.steps))
  args = unit[None], features[..., : cls.features], steps, mask
  run = jit(lambda: cls.init_with_output(jax.random.key(1), *args)[0])
  mixed = run()[0] - unit * (name not in SCANS)
  return np.asarray(mixed).transpose(1, 0, 2)  # (H, L, L)


SCANS = ('semiseparable', 'quasiseparable')


def draw(length=9, seed=0):
  shape = (1, length, 8)
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


@pytest.mark.parametrize('name', ['vandermonde', 'cauchy', 'low_rank', *SCANS])
def test_submatrices_depend_on_their_own_tokens(name):
  """Sequence alignment, the paper's definition 2.2."""
  features = draw()
  whole = matrix_of(name, features)
  changed = matrix_of(name, features.at[:, 7:].set(3.0))
  # The scans' diagonal is a map of the values, here unit vectors.
  difference = np.abs(whole - changed)
  assert difference[:, 2:7, 2:7].max() == 0
  assert difference.max() > 1e-3


def test_attention_rows_sum_to_one():
  rows = matrix_of('attention', draw()).sum(-1)
  np.testing.assert_allclose(rows, 1, atol=1e-5)


@pytest.mark.parametrize('form', [False, True])
def test_toeplitz_diagonals_are_constant_unless_official(form):
  m = matrix_of('toeplitz', draw(), form)
  # The residual is taken off the diagonal again, which rounds.
  equal = functools.partial(np.testing.assert_allclose, atol=1e-6)
  equal(m[:, 1:, 1:], m[:, :-1, :-1])
  shifted = matrix_of('toeplitz', draw(), form, official_shift=True)
  equal(shifted[:, :, 1:], m[:, :, :-1])
  equal(shifted[:, -1, 0], m[:, 0, -1])


def test_the_causal_scan_sees_nothing_ahead():
  m = matrix_of('semiseparable', draw())
  np.testing.assert_allclose(np.triu(m, 1), 0, atol=1e-7)
  both = matrix_of('quasiseparable', draw())
  assert np.abs(np.triu(both, 1)).max() > 1e-3


def test_a_shorter_input_takes_the_first_rows_and_columns():
  for name in ('dense', 'cauchy', 'low_rank', 'vandermonde', *SCANS):
    whole, part = matrix_of(name, draw(), False), None
    part = matrix_of(name, draw()[:, :6], False)
    if name == 'quasiseparable':  # the diagonal is a map of 9 or 6 channels
      whole, part = (y * (1 - np.eye(y.shape[-1])) for y in (whole, part))
    np.testing.assert_allclose(part, whole[:, :6, :6], atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
  'options,message',
  [
    (dict(name='fourier'), "matrix='fourier'; there are"),
    (dict(name='dense'), 'data_dependent=False only'),
    (dict(name='cauchy', max_length=8), 'length 9 exceeds the 8 positions'),
    (
      dict(name='toeplitz', max_length=12, official_shift=True),
      'official_shift needs inputs of max_length=12, found 9',
    ),
    (dict(name='low_rank', pad_mode='none'), "pad_mode='none'"),
  ],
)
def test_mistakes_are_named(options, message):
  with pytest.raises(ValueError, match=message):
    setting(build(**options))
