"""Laws that hold between the merging methods."""

import dataclasses
import itertools

import numpy as np
import pytest

from glue_jax.merging import average, dare, fisher, order, regmean, stream, ties
from tests.merging.models import equal, models


def fisher_of(count, seed=0):
  rng = np.random.default_rng(seed)
  base, _ = models(0)
  return [
    {
      name: np.asarray(rng.random(tensor.shape), np.float32)
      for name, tensor in base.tensors.items()
    }
    for _ in range(count)
  ]


def grams_of(count, width=7, rows=20):
  rng = np.random.default_rng(1)
  found = []
  for _ in range(count):
    x = rng.standard_normal((rows, width))
    found.append({'a/kernel': np.float32(x.T @ x / rows)})
  return found


def merges(base, parts):
  """Every method that doesn't depend on the models' order."""
  count = len(parts)
  names = [part.name for part in parts]
  pick = lambda statistics: [statistics[int(name[-1])] for name in names]
  return {
    'average': average.average(parts),
    'task_arithmetic': average.task_arithmetic(base, parts, 0.7),
    'fisher': fisher.fisher_merge(parts, pick(fisher_of(count))),
    'regmean': regmean.regmean(parts, pick(grams_of(count)), 0.9),
  }


def test_equal_models_merge_to_that_model():
  base, (model,) = models(1)
  parts = [dataclasses.replace(model, name=f'model{i}') for i in range(3)]
  found = merges(base, parts)
  equal(found['average'], model, 1e-7)
  equal(found['fisher'], model, 1e-6)
  equal(found['regmean'], model, 1e-4)


def test_the_order_of_the_models_does_not_matter():
  base, parts = models(3)
  found = merges(base, parts)
  for turned in itertools.permutations(parts):
    for name, merged in merges(base, turned).items():
      equal(merged, found[name], 2e-6)


def test_task_arithmetic_of_one_over_m_is_the_average():
  base, parts = models(3)
  equal(
    average.task_arithmetic(base, parts, 1 / 3), average.average(parts), 1e-6
  )


def test_ties_without_trimming_and_conflict_is_a_mean():
  base, (model,) = models(1)
  zero = stream.to_arrays(base)
  delta = {n: x - zero[n] for n, x in stream.to_arrays(model).items()}
  # Two models whose deltas agree in sign everywhere.
  parts = [
    stream.from_arrays({n: zero[n] + f * d for n, d in delta.items()}, f'm{f}')
    for f in (1, 3)
  ]
  size = sum(x.size for x in zero.values())
  rate = 1.5 / size
  assert order.count_of(size, rate) == 1
  found = ties.ties(base, parts, rate, 0.8)
  equal(found, average.task_arithmetic(base, parts, 0.4), 1e-6)
  equal(ties.ties(base, parts, 0.0, 0.8), found, 1e-6)  # k = 0 keeps all


def test_ties_by_hand():
  base = stream.from_arrays({'x': np.zeros(6, np.float32)}, 'base')
  rows = [[3, -2, 1, 4, 0, 2], [-1, -4, 1, 3, 5, -2]]
  parts = [
    stream.from_arrays({'x': np.float32(row)}, f'm{i}')
    for i, row in enumerate(rows)
  ]
  # k = 3: thresholds 2 and 2; the entries 1 and 0 are trimmed. The last two
  # cancel, and as more signs are positive (3 to 1), the positive one is kept.
  found = ties.ties(base, parts, 0.5, 1.0).tensors['x'].array()
  np.testing.assert_allclose(found, [3, -3, 0, 3.5, 5, 2])


def test_ties_keeps_n_minus_k_plus_1_entries():
  base, (model,) = models(1)
  zero = stream.to_arrays(base)
  found = stream.to_arrays(ties.ties(base, [model], 0.8, 1.0))
  size = sum(x.size for x in zero.values())
  kept = sum(int((found[n] != zero[n]).sum()) for n in zero)
  assert kept == size - int(size * 0.8) + 1


def test_fisher_takes_the_model_that_is_certain():
  _, parts = models(2)
  ones = {n: np.ones(t.shape, np.float32) for n, t in parts[0].tensors.items()}
  nothing = {n: 0 * x for n, x in ones.items()}
  found = fisher.fisher_merge(parts, [ones, nothing], normalize=False)
  equal(found, parts[0], 1e-5)
  # With normalised norms a factor doesn't matter.
  tenfold = {n: 1e3 * x for n, x in ones.items()}
  equal(
    fisher.fisher_merge(parts, [ones, tenfold]), average.average(parts), 1e-4
  )
  with pytest.raises(ValueError, match='3 coefficients for 2 models'):
    fisher.fisher_merge(parts, [ones, ones], [0.3, 0.3, 0.4])


def test_regmean_minimises_the_distance_of_the_outputs():
  rng = np.random.default_rng(2)
  _, parts = models(2)
  inputs = [rng.standard_normal((30, 7)) for _ in parts]
  grams = [{'a/kernel': np.float32(x.T @ x / 30)} for x in inputs]
  kernels = [p.tensors['a/kernel'].array() for p in parts]
  found = regmean.regmean(parts, grams, 1.0).tensors['a/kernel'].array()
  targets = np.concatenate([x @ k for x, k in zip(inputs, kernels)])
  best = np.linalg.lstsq(np.concatenate(inputs), targets, rcond=None)[0]
  np.testing.assert_allclose(found, best, atol=1e-5)
  plain = regmean.regmean(parts, grams, 1.0)
  np.testing.assert_array_equal(
    plain.tensors['b/table'].array(),
    average.average(parts).tensors['b/table'].array(),
  )


def test_regmean_of_other_kernels():
  rng = np.random.default_rng(3)
  x = [rng.standard_normal((30, 6)) for _ in range(2)]
  grams = [{'w': np.float32(a.T @ a / 30)} for a in x]
  flat = [rng.standard_normal((6, 8)).astype(np.float32) for _ in range(2)]

  def merged(kernels, transpose=False, alpha=0.9):
    parts = [
      stream.from_arrays({'w': k}, f'm{i}') for i, k in enumerate(kernels)
    ]
    found = regmean.regmean(parts, grams, alpha, transpose)
    return found.tensors['w'].array()

  found = merged(flat)
  reduced = [g['w'] * np.where(np.eye(6), 1, 0.9) for g in grams]
  expected = np.linalg.solve(
    sum(reduced), sum(g @ k for g, k in zip(reduced, flat))
  )
  np.testing.assert_allclose(found, expected, atol=1e-5)
  for shape in ((6, 2, 4), (2, 3, 8)):  # attention's in and out
    other = merged([k.reshape(shape) for k in flat])
    assert other.shape == shape
    np.testing.assert_allclose(other.reshape(6, 8), found, atol=1e-6)
  as_torch = [k.T for k in flat]
  np.testing.assert_allclose(merged(as_torch, True).T, found, atol=1e-6)
  with pytest.raises(ValueError, match='alpha 1.1'):
    merged(as_torch, True, 1.1)
  grams = [{'w': np.eye(5)}] * 2
  with pytest.raises(ValueError, match=r'shape \(8, 6\), its layer 5 inputs'):
    merged(as_torch, True)


def test_an_input_that_is_always_zero_keeps_the_mean():
  _, parts = models(2)
  grams = grams_of(2)
  for one in grams:
    one['a/kernel'][2] = 0
    one['a/kernel'][:, 2] = 0
  found = regmean.regmean(parts, grams, 1.0).tensors['a/kernel'].array()
  mean = average.average(parts).tensors['a/kernel'].array()
  np.testing.assert_allclose(found[2], mean[2], atol=1e-5)
  assert np.abs(found - mean).max() > 1e-3


def test_dropping_comes_before_every_method():
  base, parts = models(2)
  dropped = [dare.sparsified(p, base, dare.Drop(0.9)) for p in parts]
  solid = [stream.from_arrays(stream.to_arrays(p), p.name) for p in dropped]
  for name, merged in merges(base, dropped).items():
    equal(merged, merges(base, solid)[name])
  equal(ties.ties(base, dropped, 0.8, 1.0), ties.ties(base, solid, 0.8, 1.0))
