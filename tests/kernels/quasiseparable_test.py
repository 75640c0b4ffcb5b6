"""Quasiseparable mixing: every form is the matrix, in both passes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu

from glue_jax.kernels import lowering
from glue_jax.kernels.quasiseparable import quasiseparable as kernel
from glue_jax.kernels.quasiseparable import reference, tpu
from tests.conftest import jit, run_on_devices

SPLIT = """
import jax, numpy as np
from glue_jax.devices import sharding
from tests.kernels import quasiseparable_test as t

shape = (4, 3, 4, 2, 1, 3)
whole = t.outcome(shape, 'float32', 16, 'gpu')
t.program.cache_clear()
with sharding.enter(sharding.make_mesh(data=2, fsdp=2, tensor=2)):
  t.assert_close(t.outcome(shape, 'float32', 16, 'gpu'), whole, 1e-6)
print('equal on', len(jax.devices()))
"""
NAMES = ('x', 'dt', 'a', 'b', 'c', 'delta', 'start')


def draw(batch, length, heads, size, groups, width, dtype='float32', seed=0):
  rng = np.random.default_rng(seed)

  def normal(*shape):
    return jnp.asarray(rng.normal(size=shape), dtype)

  dt = np.exp(rng.uniform(-5, 2, (2, batch, length, heads)))
  return (
    normal(batch, length, heads, size),
    jnp.asarray(dt, jnp.float32),
    -jnp.asarray(rng.uniform(0.5, 2, heads), jnp.float32),
    normal(2, batch, length, groups, width),
    normal(2, batch, length, groups, width),
    normal(batch, length, heads).astype(jnp.float32),
    normal(heads, size, width).astype(jnp.float32),
  )


def sequential(x, dt, a, b, c, delta, start):
  """The recurrence, a token at a time, in float64."""
  x, dt, a, b, c, delta, start = (
    np.asarray(y, np.float64) for y in (x, dt, a, b, c, delta, start)
  )
  length, heads = x.shape[1:3]
  b, c = (np.repeat(y, heads // y.shape[3], axis=3) for y in (b, c))
  y = delta[..., None] * x
  for d, order in enumerate((range(length), range(length)[::-1])):
    h = np.broadcast_to(start, (x.shape[0], *start.shape)).copy()
    before = None
    for t in order:
      if before is not None:
        y[:, t] += np.einsum('zhpn,zhn->zhp', h, c[d, :, before])
      h *= np.exp(a * dt[d, :, t])[..., None, None]
      added = dt[d, :, t, :, None] * x[:, t]
      h += added[..., None] * b[d, :, t, :, None]
      before = t
  return y


def mix(args, **options):
  return jit(lambda *args: kernel.quasiseparable(*args, **options))(*args)


@functools.cache
def program(chunk, form, interpret=True):
  """y and all gradients of a form, compiled."""

  def loss(args, weight):
    y = kernel.quasiseparable(
      *args, chunk=chunk, implementation=form, interpret=interpret
    )
    return jnp.sum(y.astype(jnp.float32) * weight), y

  return jit(jax.grad(loss, has_aux=True))


def outcome(shape, dtype, chunk, form, seed=0, interpret=True):
  args = draw(*shape, dtype, seed)
  weight = np.random.default_rng(seed + 1).normal(size=args[0].shape)
  run = program(chunk, form, interpret)
  gradients, y = run(args, jnp.asarray(weight, jnp.float32))
  return dict(zip(NAMES, gradients), y=y)


def assert_close(ours, theirs, rtol):
  for name, value in theirs.items():
    value = np.asarray(value, np.float64)
    np.testing.assert_allclose(
      np.asarray(ours[name], np.float64),
      value,
      atol=rtol * (np.abs(value).max() + 1e-6),
      err_msg=name,
    )


@pytest.mark.parametrize(
  'shape,chunk',  # B, L, H, P, G, N
  [
    ((2, 1, 1, 1, 1, 1), 4),
    ((1, 17, 6, 3, 2, 5), 1),
    ((2, 40, 3, 8, 1, 1), 16),  # ragged
    ((1, 16, 4, 1, 2, 8), 16),  # exactly one
    ((1, 15, 2, 3, 1, 5), 64),  # longer than the text
  ],
)
def test_chunks_matrix_and_recurrence_agree(shape, chunk):
  args = draw(*shape)
  y = mix(args, chunk=chunk)
  exact = sequential(*args)
  assert_close({'y': y}, {'y': exact}, 2e-6)
  without = sequential(*args[:6], 0 * args[6])
  m = np.asarray(jit(reference.matrix)(*args[1:6]), np.float64)
  product = np.einsum('zhij,zjhp->zihp', m, args[0])
  assert_close({'y': product}, {'y': without}, 2e-6)


@pytest.mark.parametrize(
  'form,chunk,shape,dtype',  # each has several chunks, the last one ragged
  [
    ('gpu', 16, (2, 37, 6, 3, 2, 5), 'float32'),
    ('gpu', 16, (1, 35, 2, 5, 1, 1), 'bfloat16'),
    ('gpu', 32, (1, 70, 3, 8, 1, 6), 'bfloat16'),
    ('tpu', 128, (1, 129, 4, 5, 2, 3), 'float32'),
    ('tpu', 128, (2, 130, 2, 3, 1, 1), 'bfloat16'),
    ('tpu', 256, (1, 260, 3, 2, 3, 4), 'float32'),
  ],
)
def test_kernels_give_what_the_reference_gives(form, chunk, shape, dtype):
  theirs = outcome(shape, dtype, 16, 'reference')
  ours = outcome(shape, dtype, chunk, form)
  # Chunks of another size round other bfloat16 values.
  assert_close(ours, theirs, 1e-5 if dtype == 'float32' else 3e-2)


def test_eight_devices_give_what_one_gives():
  assert run_on_devices(SPLIT).strip() == 'equal on 8'


def test_the_semantics_of_a_tpu_find_no_race():
  shape = (1, 130, 2, 64, 1, 4)
  params = pltpu.InterpretParams(detect_races=True)
  args = draw(*shape)
  y = kernel.quasiseparable(*args, implementation='tpu', interpret=params)
  assert_close({'y': y}, {'y': sequential(*args)}, 1e-5)
  from jax._src.pallas.mosaic.interpret import interpret_pallas_call as machine

  assert not machine.races.races_found


@pytest.mark.parametrize('form', ['tpu', 'gpu'])
@pytest.mark.parametrize(
  'length,width,state',
  # All lengths and all widths; every pair of them is in the benchmark.
  [
    (128, 384, 64),
    (512, 768, 64),
    (4096, 1024, 64),
    (16384, 768, 64),
    (256, 128, 1),
    (256, 128, 7),
  ],
)
def test_lowers_for_platforms_that_are_not_here(form, length, width, state):
  heads = 2 * width // 64
  of = jax.ShapeDtypeStruct
  group = of((2, 2, length, 1, state), jnp.bfloat16)
  args = (
    of((2, length, heads, 64), jnp.bfloat16),
    of((2, 2, length, heads), jnp.float32),
    of((heads,), jnp.float32),
    group,
    group,
    of((2, length, heads), jnp.float32),
  )
  run = functools.partial(kernel.quasiseparable, implementation=form)

  def both(*args):
    y, pull = jax.vjp(run, *args)
    return pull(y)

  program = lowering.lower(both, form, args).mlir_module()
  call = 'tpu_custom_call' if form == 'tpu' else '__gpu$xla.gpu.triton'
  # States and outputs; states again and gradients.
  assert program.count(f'custom_call @{call}') == 4


@pytest.mark.parametrize('chunk', [1, 7])
def test_strong_decay_is_exact_for_any_chunk(chunk):
  args = list(draw(1, 19, 2, 3, 1, 4))
  # From steps that forget all to steps that forget nothing.
  rng = np.random.default_rng(3)
  args[1] = jnp.asarray(10 ** rng.uniform(-4, 4, args[1].shape), jnp.float32)

  def loss(chunk, *args):
    y = kernel.quasiseparable(*args, chunk=chunk)
    return jnp.sum(jnp.sin(jnp.arange(y.size)).reshape(y.shape) * y)

  def gradients(chunk):
    return jit(jax.grad(functools.partial(loss, chunk), tuple(range(7))))(*args)

  ours, whole = gradients(chunk), gradients(20)
  y = mix(args, chunk=chunk)
  assert np.isfinite(np.asarray(y)).all()
  assert_close({'y': y}, {'y': sequential(*args)}, 1e-6)
  assert_close(dict(zip(NAMES, ours)), dict(zip(NAMES, whole)), 1e-5)


def test_gradient_is_that_of_the_matrix():
  args = draw(2, 9, 4, 3, 2, 5)
  weight = jnp.asarray(np.random.default_rng(5).normal(size=args[0].shape))

  def dense(x, dt, a, b, c, delta):
    m = reference.matrix(dt, a, b, c, delta)
    return jnp.sum(weight * jnp.einsum('zhij,zjhp->zihp', m, x))

  def chunked(*args):
    return jnp.sum(weight * kernel.quasiseparable(*args, chunk=4))

  which = tuple(range(6))
  theirs, ours = (
    jit(jax.grad(fn, which))(*args[:6]) for fn in (dense, chunked)
  )
  assert_close(dict(zip(NAMES, ours)), dict(zip(NAMES, theirs)), 1e-5)


@pytest.mark.parametrize('width', [384, 768, 1024])
def test_programs_fit_into_vmem(width):
  held = functools.partial(tpu.vmem_bytes, 2 * width // 64, 64, itemsize=4)
  assert held(64, 128) < held(128, 256) < 12 * 2**20
  # Scratch and both states at least.
  assert held(64, 128) > 2 * 128**2 * 4 + 2 * 2 * 2 * 64 * 128 * 4


def test_one_token_sees_its_diagonal_only():
  args = draw(2, 1, 2, 3, 1, 4)
  y = mix(args)
  np.testing.assert_allclose(y, args[5][..., None] * args[0], rtol=1e-6)


def test_tokens_without_step_and_value_leave_no_trace():
  args = list(draw(1, 12, 2, 3, 1, 4))
  pads = np.arange(12) >= 8
  args[0] = args[0] * ~pads[None, :, None, None]
  args[1] = args[1] * ~pads[None, None, :, None]
  cut = [args[0][:, :8], args[1][:, :, :8], args[2], args[3][:, :, :8]]
  cut += [args[4][:, :, :8], args[5][:, :8]]
  whole = mix(args[:6], chunk=4)[:, :8]
  np.testing.assert_allclose(whole, mix(cut, chunk=4), atol=1e-5)


def test_blocks_off_the_diagonal_have_the_rank_of_the_state():
  m = np.asarray(
    jit(reference.matrix)(*draw(1, 24, 2, 3, 1, 3)[1:6]), np.float64
  )
  for cut in (6, 12, 18):
    for block in (m[0, 0, cut:, :cut], m[0, 0, :cut, cut:]):
      size = np.linalg.svd(block, compute_uv=False)
      assert size[3] < 1e-5 * size[0]


@pytest.mark.parametrize(
  'change,message',
  [
    ({'dt': (1, 1, 5, 4)}, r'dt \(1, 1, 5, 4\) for \(2, 1, 5, 4\)'),
    ({'b': (2, 1, 5, 3, 6), 'c': (2, 1, 5, 3, 6)}, '3 groups do not divide 4'),
    ({'implementation': 'cuda'}, "implementation='cuda'"),
    ({'implementation': 'pallas'}, 'serve a TPU or GPU, found cpu'),
    ({'chunk': 0}, 'chunk=0'),
    ({'chunk': 64, 'implementation': 'tpu'}, 'chunk=64: the tpu form serves'),
  ],
)
def test_mistakes_are_named(change, message):
  args = dict(zip(NAMES, draw(1, 5, 4, 3, 2, 6)))
  del args['start']
  options = {k: v for k, v in change.items() if not isinstance(v, tuple)}
  for name, shape in change.items():
    if isinstance(shape, tuple):
      args[name] = jnp.zeros(shape)
  with pytest.raises(ValueError, match=message):
    kernel.quasiseparable(**args, **options)
