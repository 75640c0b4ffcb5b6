"""Files that are written tensor by tensor, beside the library's."""

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from glue_jax import tree
from glue_jax.weights import safetensors_file


def arrays():
  rng = np.random.default_rng(0)
  kinds = ('f4', 'f2', 'i4', 'i8', 'u1', '?', 'f8', 'i1', 'i2', 'u2', 'u4')
  found = {
    f'{i}/ä "{kind}"': (rng.normal(size=(3, i)) * 9).astype(kind)
    for i, kind in enumerate(kinds)  # the first is empty
  }
  found['z'] = np.array(3, np.float32)
  found['turned'] = rng.normal(size=(4, 5)).astype(np.float32).T
  return found


@pytest.mark.parametrize('metadata', [None, {'format': 'pt'}])
def test_the_bytes_are_those_of_the_library(tmp_path, metadata):
  ours, theirs = tmp_path / 'ours', tmp_path / 'theirs'
  given = arrays()
  safetensors_file.write(ours, given, metadata)
  copies = {n: np.ascontiguousarray(x) for n, x in given.items()}
  copies['z'] = given['z']  # the copy would have a dimension
  safetensors.numpy.save_file(copies, theirs, metadata)
  assert ours.read_bytes() == theirs.read_bytes()
  safetensors_file.write(ours, {})
  assert safetensors.numpy.load_file(ours) == {}


def test_bfloat16_is_read_back(tmp_path):
  value = np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16)
  safetensors_file.write(tmp_path / 'b', {'x': value, 'y': np.ones(2, 'f4')})
  with safetensors.safe_open(tmp_path / 'b', 'numpy') as file:
    assert file.get_slice('x').get_dtype() == 'BF16'
    assert (file.get_tensor('y') == 1).all()
  assert value.tobytes() in (tmp_path / 'b').read_bytes()


def test_unread_tensors_are_read_one_by_one_in_the_order_told(tmp_path):
  seen, given = [], arrays()

  def leaf(name):
    return tree.Unread(
      given[name].shape,
      given[name].dtype,
      lambda: seen.append(name) or given[name],
    )

  safetensors_file.write(tmp_path / 'f', {name: leaf(name) for name in given})
  assert seen == safetensors_file.order(given)
  for name, value in safetensors.numpy.load_file(tmp_path / 'f').items():
    np.testing.assert_array_equal(value, given[name])


def test_a_type_that_the_format_has_not_is_refused(tmp_path):
  with pytest.raises(ValueError, match=r"no type \['complex128'\]"):
    safetensors_file.write(tmp_path / 'f', {'x': np.ones(2, 'c16')})
  assert not (tmp_path / 'f').exists()
