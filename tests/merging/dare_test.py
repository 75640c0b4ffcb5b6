"""DARE: the mean over masks, the kept share, and what masks depend on."""

import numpy as np
import pytest

from glue_jax.merging import dare, stream
from tests.merging.models import equal, models


def test_the_mean_over_masks_is_the_model():
  base, (model,) = models(1, {'x': (40,)})
  delta = model.tensors['x'].array() - base.tensors['x'].array()
  for rate in (0.3, 0.9):
    total = np.zeros(40)
    for seed in range(2000):
      drop = dare.Drop(rate, seed=seed)
      sparse = dare.sparsified(model, base, drop)
      total += sparse.tensors['x'].array() - base.tensors['x'].array()
    error = np.abs(total / 2000 - delta)
    bound = 5 * np.abs(delta) * np.sqrt(rate / (1 - rate) / 2000)
    assert (error <= bound + 1e-6).all()


@pytest.mark.parametrize('rate', [0.1, 0.5, 0.9, 0.99])
def test_the_kept_share(rate):
  n = 200_000
  where = dare.mask(dare.Drop(rate), 'm', 'x', 0, n)
  assert abs((~where).mean() - (1 - rate)) <= 5 * np.sqrt(rate * (1 - rate) / n)


def test_the_ends():
  base, (model,) = models(1)
  equal(dare.sparsified(model, base, dare.Drop(0.0)), model)
  for kind in dare.KINDS:
    equal(dare.sparsified(model, base, dare.Drop(1.0, kind)), base)
  equal(  # too few elements for one to be dropped
    dare.sparsified(model, base, dare.Drop(0.01, 'magnitude')), model, 1e-6
  )


def test_masks_come_from_seed_model_and_name_only(monkeypatch):
  drop = dare.Drop(0.5)
  whole = dare.mask(drop, 'm', 'x', 0, 1000)
  for start in (0, 3, 8, 501):
    part = dare.mask(drop, 'm', 'x', start, 77)
    np.testing.assert_array_equal(part, whole[start : start + 77])
  others = [
    dare.mask(dare.Drop(0.5, seed=1), 'm', 'x', 0, 1000),
    dare.mask(drop, 'n', 'x', 0, 1000),
    dare.mask(drop, 'm', 'y', 0, 1000),
  ]
  for other in others:  # independent: half of it agrees
    assert 400 < (other == whole).sum() < 600
  base, (model,) = models(1)
  once = stream.to_arrays(dare.sparsified(model, base, drop))
  monkeypatch.setattr(stream, 'CHUNK', 6)
  turned = stream.Weights(
    model.name, model.where, dict(reversed(model.tensors.items()))
  )
  again = stream.to_arrays(dare.sparsified(turned, base, drop))
  for name in once:
    np.testing.assert_array_equal(once[name], again[name])


def test_more_is_dropped_at_a_higher_rate():
  few = dare.mask(dare.Drop(0.3), 'm', 'x', 0, 1000)
  many = dare.mask(dare.Drop(0.6), 'm', 'x', 0, 1000)
  assert (many | ~few).all()


def test_kinds_and_targets():
  base, (model,) = models(1, {'x': (10, 10)})
  zero, full = base.tensors['x'].array(), model.tensors['x'].array()
  where = dare.mask(dare.Drop(0.6), 'model0', 'x', 0, 100).reshape(10, 10)
  read = lambda **kwargs: (
    dare.sparsified(model, base, dare.Drop(0.6, **kwargs)).tensors['x'].array()
  )
  delta = full - zero
  np.testing.assert_allclose(
    read(), zero + np.where(where, 0, delta) / 0.4, 1e-6
  )
  np.testing.assert_allclose(
    read(kind='drop_only'), zero + np.where(where, 0, delta), 1e-6
  )
  np.testing.assert_allclose(
    read(target='finetuned'), np.where(where, 0, full) / 0.4, 1e-6
  )
  large = np.abs(delta) > np.sort(np.abs(delta), None)[59]
  assert large.sum() == 40
  np.testing.assert_allclose(
    read(kind='magnitude'), zero + np.where(large, delta, 0), 1e-6
  )


def test_ties_in_magnitude_are_all_dropped():
  base = stream.from_arrays({'x': np.zeros(4, np.float32)}, 'base')
  model = stream.from_arrays({'x': np.float32([1, -1, 1, 2])}, 'model')
  sparse = dare.sparsified(model, base, dare.Drop(0.25, 'magnitude'))
  np.testing.assert_array_equal(sparse.tensors['x'].array(), [0, 0, 0, 2])


def test_bad_settings():
  for bad, text in (
    (dict(rate=1.5), 'drop rate 1.5'),
    (dict(rate=np.nan), 'drop rate nan'),
    (dict(rate=0.5, kind='x'), "drop kind 'x'"),
    (dict(rate=0.5, target='x'), "drop target 'x'"),
  ):
    with pytest.raises(ValueError, match=text):
      dare.Drop(**bad)
