"""Lazy tensors: reading and writing files in parts, and what is refused."""

import tracemalloc

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from glue_jax.merging import average, dare, fisher, regmean, stream, ties
from tests.merging.models import arrays, models


def save(path, values):
  safetensors.numpy.save_file(values, path)
  return stream.Weights(path.stem, str(path), stream.open_files([path]))


def test_what_is_written_is_read_by_the_library(tmp_path, monkeypatch):
  monkeypatch.setattr(stream, 'CHUNK', 4)  # several chunks each
  values = arrays(0) | {
    'half': np.arange(9, dtype=np.float16),
    'brain': np.arange(3).astype(ml_dtypes.bfloat16),
    'ids': np.arange(4, dtype=np.int64)[None],
    'none': np.zeros((0, 3), np.float32),
    's': np.array(2, np.float32),
  }
  weights = save(tmp_path / 'in.safetensors', values)
  assert weights.tensors['s'].array().shape == ()
  stream.write(tmp_path / 'out.safetensors', weights.tensors, {'format': 'pt'})
  found = safetensors.numpy.load_file(tmp_path / 'out.safetensors')
  assert found.keys() == values.keys()
  for name, value in values.items():
    assert found[name].dtype == value.dtype
    np.testing.assert_array_equal(found[name], value)
  with safetensors.safe_open(tmp_path / 'out.safetensors', 'numpy') as file:
    assert file.metadata() == {'format': 'pt'}
  names = {path.name for path in tmp_path.iterdir()}
  assert names == {'in.safetensors', 'out.safetensors'}


def test_columns_are_read_as_rows(tmp_path, monkeypatch):
  monkeypatch.setattr(stream, 'CHUNK', 8)
  value = arrays(0)['a/kernel']
  weights = save(tmp_path / 'x.safetensors', {'x': value})
  flipped = stream.transposed(weights.tensors['x'])
  assert flipped.shape == (5, 7)
  np.testing.assert_array_equal(np.concatenate([*flipped.chunks()]), value.T)
  lazy = stream.transposed(stream.from_arrays({'x': value}).tensors['x'])
  np.testing.assert_array_equal(np.concatenate([*lazy.chunks()]), value.T)


def test_merging_in_bfloat16_rounds_once(tmp_path):
  values = {'x': np.float32([1, 1.0078125]).astype(ml_dtypes.bfloat16)}
  other = {'x': np.float32([1.0078125, 1]).astype(ml_dtypes.bfloat16)}
  parts = [
    save(tmp_path / 'a.safetensors', values),
    save(tmp_path / 'b.safetensors', other),
  ]
  merged = average.task_arithmetic(parts[0], parts, 1.0)
  stream.write(tmp_path / 'c.safetensors', merged.tensors)
  found = safetensors.numpy.load_file(tmp_path / 'c.safetensors')['x']
  assert found.dtype == ml_dtypes.bfloat16
  exact = np.float32([1.0078125, 1])
  np.testing.assert_array_equal(found, exact.astype(ml_dtypes.bfloat16))


def test_a_value_beyond_float16_is_an_error(tmp_path):
  part = save(tmp_path / 'a.safetensors', {'x': np.float16([60000.0])})
  zero = save(tmp_path / 'b.safetensors', {'x': np.float16([0.0])})
  merged = average.task_arithmetic(zero, [part], 2.0)
  with pytest.raises(ValueError, match=r'b.*tensor x.*too large for F16'):
    stream.write(tmp_path / 'c.safetensors', merged.tensors)
  assert not list(tmp_path.glob('c.*'))


@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_nan_names_file_and_tensor_and_leaves_nothing(tmp_path, bad):
  values = arrays(0)
  values['b/table'][3, 1] = bad
  broken = save(tmp_path / 'broken.safetensors', values)
  merged = average.average([broken, broken])
  with pytest.raises(
    ValueError, match=r'broken.safetensors: tensor b/table holds 1 values'
  ):
    stream.write(tmp_path / 'out.safetensors', merged.tensors)
  assert [path.name for path in tmp_path.iterdir()] == ['broken.safetensors']


def test_missing_and_misshapen_tensors_are_named(tmp_path):
  whole = save(tmp_path / 'whole.safetensors', arrays(0))
  less = arrays(0)
  del less['a/bias']
  less = save(tmp_path / 'less.safetensors', less)
  for models_ in ([whole, less], [less, whole]):
    with pytest.raises(ValueError, match=r'less.*has no tensor a/bias'):
      stream.shared_names(models_)
  with pytest.raises(ValueError, match=r'less.*has no tensor a/bias'):
    stream.shared_names([whole], less)
  other = save(
    tmp_path / 'other.safetensors',
    arrays(0) | {'b/table': np.zeros((11, 4), np.float32)},
  )
  with pytest.raises(
    ValueError, match=r'other.*tensor b/table has shape \(11, 4\).*\(11, 3\)'
  ):
    stream.shared_names([whole, other])
  double = save(tmp_path / 'double.safetensors', {'x': np.zeros(3)})
  with pytest.raises(ValueError, match=r'double.*tensor x is of type F64'):
    stream.shared_names([double])
  (tmp_path / 'no.safetensors').write_bytes(b'no')
  with pytest.raises(ValueError, match='no.safetensors cannot be read'):
    stream.open_files([tmp_path / 'no.safetensors'])


def test_excluded_names_match_from_the_start():
  base, (model, other) = models(2)
  names = stream.shared_names([model, other], base, ['a/', '.*able'])
  assert names == ['s']
  assert stream.shared_names([model], base, ['kernel']) == sorted(model.tensors)


def test_integers_are_not_merged(tmp_path):
  part = save(
    tmp_path / 'a.safetensors', arrays(0) | {'position_ids': np.arange(5)}
  )
  assert 'position_ids' not in stream.shared_names([part])


def test_memory_stays_below_three_tensors(tmp_path, monkeypatch):
  """Beside the statistics, for a base and three models of two tensors."""
  monkeypatch.setattr(stream, 'CHUNK', 2**14)
  shape = (128, 2048)
  size = 4 * shape[0] * shape[1]
  rng = np.random.default_rng(0)
  parts = []
  for name in ('base', 'a', 'b', 'c'):
    value = {n: rng.standard_normal(shape, np.float32) for n in 'xy'}
    parts.append(save(tmp_path / f'{name}.safetensors', value))
  base, *parts = parts
  parts = [dare.sparsified(p, base, dare.Drop(0.9)) for p in parts]
  fishers = [{n: abs(x) for n, x in value.items()} for _ in parts]
  gram = value['x'] @ value['x'].T / shape[1]
  grams = [dict.fromkeys('xy', gram)] * len(parts)

  def peak(merge):
    tracemalloc.start()
    try:
      out = tmp_path / 'out.safetensors'
      stream.write(out, merge().tensors)
      return tracemalloc.get_traced_memory()[1] / size
    finally:
      tracemalloc.stop()

  found = {
    'average': peak(lambda: average.average(parts)),
    'task': peak(lambda: average.task_arithmetic(base, parts, 0.3)),
    'ties': peak(lambda: ties.ties(base, parts, 0.8, 1.0)),
    'fisher': peak(lambda: fisher.fisher_merge(parts, fishers)),
    'regmean': peak(lambda: regmean.regmean(parts, grams, 0.9)),
  }
  assert max(found.values()) < 3, found
