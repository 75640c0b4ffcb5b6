"""Terms of relative position: every form is the definition; they lower."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu

from glue_jax.kernels import lowering
from glue_jax.kernels.disentangled import disentangled as kernel
from glue_jax.kernels.disentangled import gpu, pallas, tpu
from tests.conftest import run_on_devices
from tests.quick import jit

SPLIT = """
import functools
import jax, numpy as np
from glue_jax.devices import sharding
from glue_jax.kernels import lowering
from glue_jax.kernels.disentangled import pallas
from tests.kernels import disentangled_test as t

arguments = t.sample((4, 5, 7, 2, 3), 'float32')
whole = {form: t.outcome(form, True, *arguments) for form in ('tpu', 'gpu')}
t.program.cache_clear()
with sharding.enter(sharding.make_mesh(data=2, fsdp=2, tensor=2)):
  for form, expected in whole.items():
    t.assert_close(t.outcome(form, True, *arguments), expected, 1e-6)
  program = lowering.lower(
    functools.partial(t.both_passes, 'tpu'), 'tpu', t.structs(128, 'float32')
  ).mlir_module()
assert program.count('@tpu_custom_call') == 2
print('equal on', len(jax.devices()))
"""
NAMES = 'query', 'key', 'position_keys', 'position_queries'


def sample(shape, dtype, seed=0):
  """Q, K, Kr, Qr, what to weight the scores by, and rows that repeat."""
  batch, length, other, heads, width = shape
  rng = np.random.default_rng(seed)

  def draw(*size):
    return jnp.asarray(rng.normal(size=size), dtype)

  size = 1 + (length + other) // 3
  rows = rng.integers(0, size, length + other - 1)
  arrays = (
    draw(batch, length, heads, width),
    draw(batch, other, heads, width),
    draw(size, heads, width),
    draw(size, heads, width),
  )
  return arrays, draw(batch, heads, length, other).astype('float32'), rows


@functools.cache
def program(form, interpret, rows):
  """Scores and all gradients of a form, compiled."""

  def loss(arrays, weight):
    scores = kernel.position_scores(
      *arrays, np.array(rows), implementation=form, interpret=interpret
    )
    return jnp.sum(scores * weight), scores

  return jit(jax.grad(loss, has_aux=True))


def outcome(form, interpret, arrays, weight, rows):
  gradients, scores = program(form, interpret, tuple(rows))(arrays, weight)
  return dict(zip(NAMES, gradients), scores=scores)


def by_definition(arrays, weight, rows):
  """From all pairs' own keys and queries of position, in float64."""
  q, k, keys, queries = (np.asarray(x, np.float64) for x in arrays)
  weight = np.asarray(weight, np.float64)
  length, other = weight.shape[2:]
  pairs = rows[np.arange(other) - np.arange(length)[:, None] + length - 1]
  one_hot = np.eye(len(keys))[pairs]
  return {
    'scores': np.einsum('blhk,lmhk->bhlm', q, keys[pairs])
    + np.einsum('bmhk,lmhk->bhlm', k, queries[pairs]),
    'query': np.einsum('bhlm,lmhk->blhk', weight, keys[pairs]),
    'key': np.einsum('bhlm,lmhk->bmhk', weight, queries[pairs]),
    'position_keys': np.einsum(
      'bhlm,blhk,lmr->rhk', weight, q, one_hot, optimize=True
    ),
    'position_queries': np.einsum(
      'bhlm,bmhk,lmr->rhk', weight, k, one_hot, optimize=True
    ),
  }


def assert_close(ours, theirs, rtol):
  for name, value in theirs.items():
    value = np.asarray(value, np.float64)
    np.testing.assert_allclose(
      np.asarray(ours[name], np.float64),
      value,
      atol=rtol * np.abs(value).max(),
      rtol=0,
      err_msg=name,
    )


@pytest.mark.parametrize('form', ['reference', 'tpu', 'gpu'])
@pytest.mark.parametrize(
  'shape,dtype',  # B, L, M, H, K
  [
    ((1, 1, 4, 1, 1), 'float32'),
    ((2, 5, 1, 3, 6), 'bfloat16'),
    ((2, 70, 67, 2, 5), 'float32'),  # several blocks, the last one ragged
    ((1, 130, 259, 1, 17), 'bfloat16'),
  ],
)
def test_every_form_is_the_definition(form, shape, dtype):
  arguments = sample(shape, dtype)
  ours = outcome(form, form != 'reference', *arguments)
  assert ours['scores'].dtype == jnp.float32
  assert all(ours[name].dtype == dtype for name in NAMES)
  # In bfloat16 a pair's gradient is rounded before the products with it.
  tolerance = 3e-6 if dtype == 'float32' else 1e-2
  assert_close(ours, by_definition(*arguments), tolerance)


def test_a_program_of_a_tpu_goes_on_to_the_next(monkeypatch):
  """As it does beyond eight tiles."""
  monkeypatch.setattr(tpu, '_MOST', 1)
  arguments = sample((2, 130, 150, 1, 2), 'float32', 1)
  program.cache_clear()
  ours = outcome('tpu', True, *arguments)
  assert_close(ours, by_definition(*arguments), 3e-6)


def test_a_term_may_be_left_out():
  (q, k, keys, queries), _, rows = sample((2, 9, 9, 2, 4), 'float32')
  run = functools.partial(kernel.position_scores, q, k, rows=rows)
  both = run(keys, queries)
  np.testing.assert_allclose(
    run(keys, None) + run(None, queries), both, atol=1e-6
  )


def test_tpu_semantics_have_no_race():
  arguments = sample((2, 130, 129, 1, 3), 'float32', 2)
  mode = pltpu.InterpretParams(detect_races=True)
  assert_close(
    outcome('tpu', mode, *arguments), by_definition(*arguments), 3e-6
  )
  from jax._src.pallas.mosaic.interpret import interpret_pallas_call

  assert not interpret_pallas_call.races.races_found


def both_passes(form, x, table, cotangent):
  """`by_distance` of a form and its gradients."""
  run = functools.partial(pallas.spread, (form, False, True))
  pairs, pull = jax.vjp(run, x, table)
  return pairs, pull(cotangent)


def structs(length, dtype, width=64):
  """Shapes and types of the arguments of `both_passes` but the form."""
  of = jax.ShapeDtypeStruct
  return (
    of((4, 12, length, width), dtype),
    of((12, 2 * length, width), dtype),
    of((4, 12, length, length), 'float32'),
  )


@pytest.mark.parametrize('form', ['tpu', 'gpu'])
@pytest.mark.parametrize(
  'length,dtype,width',
  [
    (1, 'float32', 3),
    (77, 'bfloat16', 64),
    (512, 'bfloat16', 64),
    (4096, 'float32', 80),
    (16384, 'bfloat16', 64),
  ],
)
def test_forward_and_backward_lower(form, length, dtype, width):
  module = lowering.lower(
    functools.partial(both_passes, form), form, structs(length, dtype, width)
  ).mlir_module()
  target, calls = {
    'tpu': ('tpu_custom_call', 2),
    # The rows' and the table's gradients are kernels of their own.
    'gpu': ('__gpu$xla.gpu.triton', 3),
  }[form]
  assert module.count(f'@{target}') == calls


def test_a_mesh_of_devices_gives_what_one_does_and_lowers():
  assert run_on_devices(SPLIT).strip() == 'equal on 8'


def test_memory_of_a_program():
  assert tpu.vmem_bytes(512, 512, 64, 2) < 5 * 2**20
  assert tpu.vmem_bytes(4096, 4096, 64, 2) < 16 * 2**20
  assert tpu.vmem_bytes(16384, 16384, 64, 2) < 60 * 2**20
  # The table and its gradient at least, twice each.
  assert tpu.vmem_bytes(4096, 4096, 64, 2) > 2 * 8192 * 128 * (2 + 4)
  assert gpu.TILE & (gpu.TILE - 1) == 0


@pytest.mark.parametrize(
  'change,message',
  [
    (
      dict(key=np.zeros((1, 4, 2, 5))),
      r'key \(1, 4, 2, 5\) for \(1, 4, 2, 3\)',
    ),
    (dict(rows=np.zeros(7, int)), r'rows \(7,\) for \(8,\)'),
    (dict(rows=np.full(8, 4)), 'rows 4 to 4: expected 0 to 3, as the tables'),
    (
      dict(position_keys=None, position_queries=None),
      'no position_keys and no position_queries',
    ),
    (dict(implementation='cuda'), "implementation='cuda'; expected one of"),
    (dict(implementation='pallas'), 'serve a TPU or GPU, found cpu'),
  ],
)
def test_mistakes_are_named(change, message):
  arrays, _, rows = sample((1, 5, 4, 2, 3), 'float32')
  arguments = dict(zip(NAMES, arrays), rows=rows) | change
  with pytest.raises(ValueError, match=message):
    kernel.position_scores(**arguments)
