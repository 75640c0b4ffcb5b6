"""The kernels of PoNet's pooling agree with the reference; they lower."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu

from glue_jax.kernels import lowering
from glue_jax.kernels.segment_pooling import reference, tpu
from glue_jax.kernels.segment_pooling import segment_pooling as kernel
from tests.conftest import run_on_devices

SPLIT = """
import functools
import jax, numpy as np
from glue_jax.devices import sharding
from glue_jax.kernels import lowering
from glue_jax.kernels.segment_pooling import pallas
from tests.kernels import segment_pooling_test as t

arguments = t.sample((4, 7, 6), False, 'float32', 1)
whole = {p: t.run(p, True, False, *arguments) for p in ('tpu', 'gpu')}
t.run.clear_cache()
with sharding.enter(sharding.make_mesh(data=2, fsdp=2, tensor=2)):
  for platform, expected in whole.items():
    ours = t.run(platform, True, False, *arguments)
    for x, y in zip(ours, expected, strict=True):
      np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-6)
  spread = functools.partial(pallas.spread, ('tpu', False, False))
  program = lowering.lower(
    t.both_passes(spread), 'tpu', t.structs((4, 128, 384), 'float32')
  ).mlir_module()
assert program.count('@tpu_custom_call') == 2
print('equal on', len(jax.devices()))
"""
NAMES = 'token', 'gate', 'segment', 'local'


def sample(shape, contiguous, dtype, seed):
  """Random arguments with many ties; the first row is all padding."""
  rng = np.random.default_rng(seed)
  batch, length, width = shape
  number = int(rng.integers(1, 6))
  if contiguous:
    ids = np.sort(rng.integers(0, number, (batch, length)), axis=1)
  else:
    ids = rng.integers(-3, number, (batch, length)) * 7
  kinds = rng.choice(
    [reference.PAD, 1, 1, 1, reference.SPECIAL], (batch, length)
  )
  kinds[0] = reference.PAD if seed % 2 else kinds[0]

  def draw(*size):
    return jnp.asarray(rng.integers(-4, 5, size) / 4, dtype)

  arrays = draw(batch, width), *(draw(*shape) for _ in range(3))
  return arrays, jnp.asarray(ids), jnp.asarray(kinds), draw(*shape)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def run(implementation, interpret, contiguous, arrays, ids, kinds, cotangent):
  """P and its gradients."""
  fn = functools.partial(
    kernel.segment_pooling, segment_ids=ids, kind=kinds,
    contiguous=contiguous, implementation=implementation, interpret=interpret,
  )  # fmt: skip
  out, pull = jax.vjp(fn, *arrays)
  return out, *pull(cotangent)


@pytest.mark.parametrize('platform', ['tpu', 'gpu'])
@pytest.mark.parametrize(
  'shape,contiguous,dtype',
  [
    ((2, 1, 1), True, 'float32'),
    ((1, 7, 5), False, 'bfloat16'),
    ((2, 40, 70), True, 'bfloat16'),
    ((2, 40, 70), False, 'float32'),
    ((1, 130, 129), True, 'float32'),
    ((1, 130, 129), False, 'bfloat16'),
  ],
)
def test_kernels_agree_with_the_reference(platform, shape, contiguous, dtype):
  # The kernels sum in float32; XLA's reference in the arrays' own type.
  rtol = 1e-5 if dtype == 'float32' else 2e-2
  for seed in (0, 1, 2):  # one program; the second has a row of padding only
    arguments = sample(shape, contiguous, dtype, seed)
    ours = run(platform, True, contiguous, *arguments)
    expected = run('reference', False, contiguous, *arguments)
    for name, x, y in zip(('P', *NAMES), ours, expected, strict=True):
      assert x.dtype == y.dtype
      x, y = np.float32(x), np.float32(y)
      scale = max(1.0, np.abs(y).max())
      np.testing.assert_allclose(x, y, rtol, rtol * scale, err_msg=name)


def test_tpu_semantics_have_no_race():
  arrays, ids, *rest = sample((2, 130, 129), False, 'float32', 2)
  # A row of either way to reduce.
  arguments = arrays, ids.at[0].set(jnp.sort(ids[0])), *rest
  mode = pltpu.InterpretParams(detect_races=True)
  ours = run('tpu', mode, False, *arguments)
  expected = run('reference', False, False, *arguments)
  for x, y in zip(ours, expected, strict=True):
    np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)
  from jax._src.pallas.mosaic.interpret import interpret_pallas_call

  assert not interpret_pallas_call.races.races_found


# Of one batch: ids that come back, that grow (behind them the padding's), that
# stand together without growing, and a single segment.
ANY_IDS = (
  (0, 1, 0, 2, 0, 1, 3, 2),
  (0, 1, 1, 1, 2, 2, -1, -1),
  (5, 5, 3, 3, 9, 9, 9, 0),
  (4, 4, 4, 4, 4, 4, 4, 4),
)


@pytest.mark.parametrize('rows', [slice(None), slice(1, 2), slice(0, 1)])
@pytest.mark.parametrize('platform', ['reference', 'tpu', 'gpu'])
def test_any_ids_are_right_without_a_promise(platform, rows):
  ids = np.array(ANY_IDS)
  kinds = np.where(ids < 0, reference.PAD, reference.ORDINARY)
  x = np.random.default_rng(0).normal(size=(*ids.shape, 3)).astype('float32')
  same = (ids[:, :, None] == ids[:, None]) & (kinds[:, None] != reference.PAD)
  pooled = np.where(same[..., None], x[:, None], -np.inf).max(2)
  expected = np.where(kinds[..., None] == reference.PAD, 0, pooled)
  rest = jnp.zeros((len(ids), 3)), jnp.ones(x.shape), x, jnp.zeros(x.shape)
  arrays = tuple(jnp.asarray(array[rows]) for array in rest)
  interpret = platform != 'reference'
  out, *_ = run(
    platform, interpret, False, arrays, jnp.asarray(ids[rows]),
    jnp.asarray(kinds[rows]), arrays[1],
  )  # fmt: skip
  np.testing.assert_array_equal(out, expected[rows])


def test_ids_that_grow_are_numbered_without_a_sort():
  def sorts(contiguous):
    labels = functools.partial(reference.dense_labels, contiguous=contiguous)
    ids = jax.ShapeDtypeStruct((2, 8), 'int32')
    return str(jax.make_jaxpr(labels)(ids)).count(' sort[')

  assert (sorts(True), sorts(False)) == (0, 1)  # the one within a branch
  grown = jnp.array([[0, 0, 3, 7], [-2, -2, -2, 5]])
  both = reference.dense_labels(grown, True), reference.dense_labels(grown)
  np.testing.assert_array_equal(*both)
  np.testing.assert_array_equal(both[0], [[0, 0, 1, 2], [0, 0, 0, 1]])


def both_passes(fn):
  """The forward and the backward pass of a form, as one function."""

  def both(token, gate, segment, local, ids, kinds, cotangent):
    out, pull = jax.vjp(fn, token, gate, segment, local, ids, kinds)
    return out, pull(cotangent)[:4]

  return both


def structs(shape, dtype):
  """Shapes and types of the arguments of `both_passes`."""
  batch, length, width = shape
  rows = jax.ShapeDtypeStruct(shape, dtype)
  ids = jax.ShapeDtypeStruct((batch, length), 'int32')
  token = jax.ShapeDtypeStruct((batch, width), dtype)
  return token, rows, rows, rows, ids, ids, rows


@pytest.mark.parametrize('platform', ['tpu', 'gpu'])
@pytest.mark.parametrize(
  'length,width,dtype,contiguous',
  [
    (128, 384, 'float32', True),
    (512, 768, 'bfloat16', True),
    (512, 768, 'float32', False),
    (4096, 1024, 'float32', True),
    (16384, 768, 'bfloat16', True),
  ],
)
def test_forward_and_backward_lower(platform, length, width, dtype, contiguous):
  fn = functools.partial(
    kernel.segment_pooling, implementation=platform, contiguous=contiguous
  )
  program = lowering.lower(
    both_passes(fn), platform, structs((2, length, width), dtype)
  ).mlir_module()
  target = {'tpu': 'tpu_custom_call', 'gpu': '__gpu$xla.gpu.triton'}[platform]
  assert program.count(f'@{target}') == 2


def test_a_mesh_of_devices_gives_what_one_does_and_lowers():
  assert run_on_devices(SPLIT).strip() == 'equal on 8'


def test_vmem_stays_within_the_chip():
  assert tpu.vmem_bytes(16384, 4) <= 120 * 2**20
  assert tpu.vmem_bytes(8192, 4) <= 60 * 2**20
  assert tpu.vmem_bytes(2048, 4) <= 15 * 2**20


def test_permuting_a_segment_changes_nothing_and_labels_are_only_names():
  arrays, ids, kinds, cotangent = sample((1, 40, 8), False, 'float32', 4)
  token, gate, segment, local = arrays
  kinds = jnp.ones_like(kinds)
  pooled = reference.segment_max(segment, ids)
  members = np.flatnonzero(np.asarray(ids[0]) == int(ids[0, 0]))
  order = np.arange(40)
  order[members] = members[::-1]
  np.testing.assert_array_equal(
    reference.segment_max(segment[:, order], ids), pooled
  )
  renamed = 1000 - 3 * ids
  run = functools.partial(kernel.segment_pooling, token, gate, segment, local)
  np.testing.assert_array_equal(run(ids, kinds), run(renamed, kinds))


def test_ties_split_evenly_or_go_to_the_first():
  x = jnp.asarray([[[1.0], [3.0], [3.0], [2.0]]])
  ids = jnp.zeros((1, 4), int)

  def grad(ties):
    return jax.grad(lambda x: reference.segment_max(x, ids, ties).sum())(x)

  np.testing.assert_array_equal(grad('even')[0, :, 0], [0, 2, 2, 0])
  np.testing.assert_array_equal(grad('first')[0, :, 0], [0, 4, 0, 0])
  window = jax.grad(lambda x: reference.local_max(x).sum())(x)
  np.testing.assert_array_equal(window[0, :, 0], [0, 3, 1, 0])


@pytest.mark.parametrize(
  'change,message',
  [
    (dict(ties='all'), "ties='all'; expected 'even' or 'first'"),
    (dict(implementation='cuda'), "implementation='cuda'; expected one of"),
    (dict(implementation='pallas'), 'serve a TPU or GPU, found cpu'),
    (dict(implementation='tpu', ties='first'), "serve ties='even', found ties"),
    (dict(token=jnp.ones((2, 4))), r'token \(2, 4\) for \(2, 3\)'),
  ],
)
def test_errors_say_what_was_expected(change, message):
  rows = jnp.ones((2, 5, 3))
  ids = jnp.ones((2, 5), int)
  arguments = dict(
    token=jnp.ones((2, 3)), gate=rows, segment=rows, local=rows,
    segment_ids=ids, kind=ids,
  )  # fmt: skip
  with pytest.raises(ValueError, match=message):
    kernel.segment_pooling(**(arguments | change))
