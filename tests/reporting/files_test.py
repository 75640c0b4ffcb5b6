"""Whole files: old or new, never half, and nothing beside them."""

import os
import pathlib
import re
import stat
import threading

import numpy as np
import pytest
import safetensors.numpy

from glue_jax.reporting import files
from tests.conftest import ROOT


@pytest.fixture
def umask():
  """Sets the umask of new files for a test."""
  before = os.umask(0o022)
  yield os.umask
  os.umask(before)


def mode(path):
  return stat.S_IMODE(path.stat().st_mode)


def test_text_is_replaced_and_its_folder_made(tmp_path):
  files.replace_text(tmp_path / 'a' / 'x.txt', 'one')
  files.replace_text(tmp_path / 'a' / 'x.txt', 'zażółć')
  assert [p.name for p in (tmp_path / 'a').iterdir()] == ['x.txt']
  assert (tmp_path / 'a' / 'x.txt').read_bytes() == 'zażółć'.encode()


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize('old', [None, 'old'])
def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path, error, old):
  path = tmp_path / 'x.txt'
  if old:
    path.write_text(old)
  with pytest.raises(error), files.whole(path) as part:
    part.write_text('half')
    raise error
  assert [p.read_text() for p in tmp_path.iterdir()] == ([old] if old else [])


def test_a_name_that_is_taken_by_a_folder_leaves_nothing_beside(tmp_path):
  (tmp_path / 'x').mkdir()
  with pytest.raises(OSError), files.whole(tmp_path / 'x') as part:
    part.write_text('text')
  assert [p.name for p in tmp_path.iterdir()] == ['x']


def test_a_reader_sees_the_old_text_until_the_block_ends(tmp_path):
  path = tmp_path / 'x.txt'
  files.replace_text(path, 'old')
  with files.whole(path, sync=True) as part:
    part.write_text('new')
    assert part.parent == tmp_path  # a rename within one file system
    assert part.name.startswith('.')  # no glob of results picks it up
    assert path.read_text() == 'old'
  assert path.read_text() == 'new'


def test_writers_at_once_have_a_name_each(tmp_path):
  path, both = tmp_path / 'x.txt', threading.Barrier(8)

  def write(number):
    with files.whole(path) as part:
      both.wait()
      part.write_text(str(number) * 100_000)
      both.wait()

  threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert [p.name for p in tmp_path.iterdir()] == ['x.txt']
  text = path.read_text()
  assert text == text[0] * 100_000


@pytest.mark.parametrize(('mask', 'bits'), [(0o022, 0o644), (0o027, 0o640)])
def test_a_new_file_has_the_permissions_of_the_umask(
  tmp_path, umask, mask, bits
):
  umask(mask)
  files.replace_text(tmp_path / 'text', 'x')
  files.append_line(tmp_path / 'lines', {'step': 1})
  with files.whole(tmp_path / 'tensors') as part:
    safetensors.numpy.save_file({'x': np.zeros(3)}, part)
  with files.whole(tmp_path / 'arrays') as part, part.open('wb') as file:
    np.savez(file, x=np.zeros(3))
  assert {mode(path) for path in tmp_path.iterdir()} == {bits}


def test_nothing_else_writes_under_another_name_first():
  # Beam's file systems have calls of their own, see there. A damaged
  # checkpoint is moved aside as a folder, a dead process's lock as a file.
  apart = {'reporting/files.py', 'data/selection/beam_files.py'}
  by_hand = re.compile(
    r"\.part['\"}]|os\.replace\(|os\.rename\(|mkstemp|\.rename\("
  )
  writers = {
    str(path.relative_to(ROOT / 'glue_jax')): by_hand.findall(path.read_text())
    for path in pathlib.Path(ROOT / 'glue_jax').rglob('*.py')
  }
  writers = {path: lines for path, lines in writers.items() if lines}
  assert writers.pop('training/checkpoint.py') == ['.rename(']
  assert writers.pop('training/lock.py') == ['.rename(']
  assert set(writers) == apart
