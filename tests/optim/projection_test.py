import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.optim import projection
from tests.conftest import jit, run_on_devices


def matrix(m, n):
  """Singular values 8, 4, 2 and, after a gap, below 0.1."""
  rng = np.random.default_rng(0)
  u = np.linalg.qr(rng.normal(size=(m, min(m, n))))[0]
  v = np.linalg.qr(rng.normal(size=(n, min(m, n))))[0]
  values = np.full(min(m, n), 0.1) / (1 + np.arange(min(m, n)))
  values[:3] = 8, 4, 2
  return np.asarray((u * values) @ v.T, np.float32)


@functools.partial(jit, static_argnums=(1, 2, 3))
def find(g, rank, side='std', solver='svd'):
  return projection.find(g, rank, side, solver, jax.random.key(1))


@pytest.mark.parametrize(
  'name, tall, wide, square',
  [
    ('std', 'right', 'left', 'right'),
    ('reverse_std', 'left', 'right', 'left'),
    ('left', 'left', 'left', 'left'),
    ('right', 'right', 'right', 'right'),
    ('full', 'both', 'both', 'both'),
  ],
)
def test_which_side_is_projected(name, tall, wide, square):
  sides = {'left': (True, False), 'right': (False, True), 'both': (True, True)}
  for (m, n), side in (((9, 4), tall), ((4, 9), wide), ((5, 5), square)):
    assert projection.sides(name, m, n) == sides[side]
    left, right, low = projection.shapes(name, 3, (2, m, n))
    assert left == ((2, m, 3) if sides[side][0] else None)
    assert right == ((2, 3, n) if sides[side][1] else None)
    factors = [None if s is None else jnp.ones(s) for s in (left, right)]
    assert projection.project(jnp.ones((2, m, n)), factors).shape == low
    assert projection.back(jnp.ones(low), factors).shape == (2, m, n)


def test_projecting_and_back_is_the_best_approximation():
  g = matrix(12, 7)
  u, s, vt = np.linalg.svd(g)
  best = (u[:, :3] * s[:3]) @ vt[:3]
  for name in ('left', 'right', 'full'):
    factors = find(g, 3, name)
    ours = projection.back(projection.project(g, factors), factors)
    np.testing.assert_allclose(ours, best, atol=1e-5)


@pytest.mark.parametrize('solver', projection.SOLVERS)
@pytest.mark.parametrize('shape', [(30, 20), (20, 30)])
def test_solvers_span_the_same_space(solver, shape):
  g = matrix(*shape)
  left, right = (np.asarray(x) for x in find(g, 3, 'full', solver))
  u, _, vt = np.linalg.svd(g, full_matrices=False)
  for ours, exact in ((left, u[:, :3]), (right.T, vt[:3].T)):
    # Cosines of the principal angles.
    assert np.linalg.svd(ours.T @ exact)[1].min() >= 0.99
    np.testing.assert_allclose(ours.T @ ours, np.eye(3), atol=1e-5)
    np.testing.assert_allclose(np.abs(ours), np.abs(exact), atol=1e-3)
    # The largest entry of each vector is positive.
    assert (ours.max(0) == np.abs(ours).max(0)).all()
  # The same signs for the opposite gradient; the squares of tiny entries,
  # which are zero in float32, don't matter.
  for factor in (-1.0, 1e-25):
    moved = find(np.float32(factor) * g, 3, 'full', solver)
    np.testing.assert_allclose(moved[0], left, atol=1e-4)
    np.testing.assert_allclose(moved[1], right, atol=1e-4)


def test_a_stack_is_shared_out_over_the_devices():
  script = """
import jax, jax.numpy as jnp, numpy as np
from glue_jax.devices import sharding
from glue_jax.optim import projection
g = jax.random.normal(jax.random.key(0), (11, 12, 7))
find = lambda x: projection.find(x, 3, 'full')
alone = jax.jit(find)(g)
with sharding.enter(sharding.make_mesh(data=2, fsdp=2, tensor=2)):
  program = jax.jit(lambda x: projection.share_out(find, x)).lower(g).compile()
  ours = program(g)
# 11 matrices over 8 devices: each decomposes 2, and no device all 11.
text = program.as_text()
assert 'f32[2,12,7]' in text, text
calls = [line for line in text.split('\\n') if 'custom-call' in line]
assert calls and not any('[11,12,7]' in line for line in calls)
for a, b in zip(alone, ours, strict=True):
  np.testing.assert_allclose(a, b, atol=1e-5)
print('same')
"""
  assert run_on_devices(script).strip() == 'same'
