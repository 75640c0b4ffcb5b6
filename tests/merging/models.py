"""Small models for the tests of merging."""

import numpy as np

from glue_jax.merging import stream

SHAPES = {'a/kernel': (7, 5), 'a/bias': (5,), 'b/table': (11, 3), 's': ()}


def arrays(seed, shapes=SHAPES, scale=1.0, around=None):
  """Random arrays, or those of `around` with random deltas."""
  rng = np.random.default_rng(seed)
  found = {
    name: np.float32(scale) * rng.standard_normal(shape, np.float32)
    for name, shape in shapes.items()
  }
  if around is not None:
    found = {name: around[name] + value for name, value in found.items()}
  return {name: np.asarray(value) for name, value in found.items()}


def models(count=3, shapes=SHAPES):
  """(base, models) as lazy weights."""
  start = arrays(0, shapes)
  tuned = [arrays(1 + i, shapes, 0.1, start) for i in range(count)]
  named = [stream.from_arrays(m, f'model{i}') for i, m in enumerate(tuned)]
  return stream.from_arrays(start, 'base'), named


def equal(a, b, tolerance=0.0):
  """Asserts that two weights have the same values."""
  a, b = stream.to_arrays(a), stream.to_arrays(b)
  assert a.keys() == b.keys()
  for name in a:
    np.testing.assert_allclose(a[name], b[name], tolerance, tolerance)
