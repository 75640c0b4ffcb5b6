"""GGUF: values as the package `gguf` reads them, and damaged files refused."""

import pathlib
import struct

import numpy as np
import pytest

from glue_jax.data.readers import gguf, gguf_blocks
from tests import gguf_files

# Random bytes and what gguf.quants.dequantize (0.19.0) makes of them.
BLOCKS = np.load(pathlib.Path(__file__).parent / 'gguf_blocks.npz')
NUMBERS = {name: number for number, name in gguf_blocks.NAMES.items()}


@pytest.mark.parametrize('kind', sorted({*gguf_blocks.BLOCKS} - {'F32'}))
def test_values_of_blocks(kind, tmp_path):
  """Behind another tensor, whose end is no multiple of the alignment."""
  stored, values = BLOCKS[f'{kind}_bytes'], BLOCKS[f'{kind}_values']
  path = gguf_files.write(
    tmp_path / 'x.gguf',
    {'general.alignment': 32, 'numbers': np.arange(3, dtype=np.int32)},
    {
      'first': gguf_files.f32(np.ones(3)),
      'x': (NUMBERS[kind], values.shape, stored.tobytes()),
    },
    version=2,
  )
  file = gguf.read(path)
  found = file.tensors['x'].read()
  assert found.dtype == np.float32
  np.testing.assert_array_equal(found, values)
  np.testing.assert_array_equal(file.tensors['first'].read(), [1, 1, 1])
  np.testing.assert_array_equal(file.metadata['numbers'], [0, 1, 2])


def small(tmp_path, kind=0, shape=(32,), key='a', **kwargs):
  tensors = {'x': (kind, shape, bytes(4 * 32))}
  return gguf_files.write(tmp_path / 'x.gguf', {key: 'b'}, tensors, **kwargs)


def cut(path, size):
  path.write_bytes(path.read_bytes()[:size])
  return path


@pytest.mark.parametrize(
  ('broken', 'words'),
  [
    (lambda p: small(p, kind=16), 'x is of type IQ2_XXS, which is not read'),
    (lambda p: small(p, kind=77), 'x is of type number 77'),
    (lambda p: small(p, kind=8, shape=(4, 8)), 'Q8_0 stores 32 values at a'),
    (lambda p: small(p, version=1), r'version 1; read here are \[2, 3\]'),
    (lambda p: cut(small(p), -40), 'is truncated: x ends at byte'),
    (lambda p: cut(small(p), 30), 'its header ends after its 30 bytes'),
    (lambda p: cut(small(p), 0), 'is empty'),
    (lambda p: cut(small(p, key='a' * 999), 500), 'truncated or damaged'),
  ],
)
def test_files_that_are_refused(broken, words, tmp_path):
  with pytest.raises(ValueError, match=words):
    gguf.read(broken(tmp_path))


def test_other_files_and_metadata_of_no_known_type(tmp_path):
  path = small(tmp_path)
  whole = path.read_bytes()
  path.write_bytes(b'PK\x03\x04' + whole[4:])
  with pytest.raises(ValueError, match=r"starts with b'PK.*GGUF file with"):
    gguf.read(path)
  place = whole.index(b'a') + 1
  path.write_bytes(whole[:place] + struct.pack('<I', 99) + whole[place + 4 :])
  with pytest.raises(ValueError, match='metadata of type 99 is not known'):
    gguf.read(path)


def test_which_file_a_source_means(tmp_path):
  path = small(tmp_path)
  assert gguf.find(path) == path == gguf.find(tmp_path)
  with pytest.raises(FileNotFoundError, match=r'y\.gguf not found'):
    gguf.find(tmp_path / 'y.gguf')
  (tmp_path / 'y.gguf').write_bytes(path.read_bytes())
  with pytest.raises(ValueError, match=r"\['x.gguf', 'y.gguf'\]; give one"):
    gguf.find(tmp_path)
  (tmp_path / 'config.json').write_text('{}')
  assert gguf.find(tmp_path) is None
