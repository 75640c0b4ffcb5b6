"""Whole files: old or new, never half, and nothing beside them."""

import os
import pathlib
import re
import stat
import threading

import numpy as np
import pytest
import safetensors
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


def test_what_is_no_regular_file_is_written_and_stays(tmp_path):
  pipe = tmp_path / 'pipe'
  os.mkfifo(pipe)
  got = []
  reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
  reader.start()
  files.replace_text(pipe, 'through')
  reader.join(10)
  assert got == ['through'] and stat.S_ISFIFO(pipe.stat().st_mode)
  files.replace_text('/dev/null', 'gone')
  assert stat.S_ISCHR(os.stat('/dev/null').st_mode)
  assert [p.name for p in tmp_path.iterdir()] == ['pipe']


def test_an_open_descriptor_is_written_to(tmp_path):
  with (tmp_path / 'log').open('a') as log:
    print('before', file=log, flush=True)
    (tmp_path / 'link').symlink_to(f'/dev/fd/{log.fileno()}')
    files.replace_text(f'/dev/fd/{log.fileno()}', 'one\n')
    files.replace_text(tmp_path / 'link', 'two\n')
    print('after', file=log, flush=True)
  assert (tmp_path / 'log').read_text() == 'before\none\ntwo\nafter\n'


def test_of_a_link_the_file_is_replaced_with_its_permissions(tmp_path, umask):
  (tmp_path / 'far').mkdir()
  real, link = tmp_path / 'far' / 'x', tmp_path / 'x'
  real.write_text('old')
  real.chmod(0o600)
  link.symlink_to('far/x')
  files.replace_text(link, 'new')
  assert link.is_symlink() and real.read_text() == 'new'
  assert mode(real) == 0o600
  link.unlink()
  link.symlink_to('far/none yet')
  files.replace_text(link, 'made')
  assert link.is_symlink() and (real.parent / 'none yet').read_text() == 'made'


def test_a_full_disk_is_an_error_with_the_path(tmp_path):
  def full(path, write):
    with pytest.raises(OSError) as error, files.whole(path) as part:
      write(part)
    assert error.value.errno == 28 and error.value.filename == str(path)

  full('/dev/full', lambda part: part.write_text('x'))

  def of_a_handle(part):
    raise OSError(28, 'No space left on device')

  def of_safetensors(part):
    raise safetensors.SafetensorError('I/O error: No space (os error 28)')

  full(tmp_path / 'x', of_a_handle)
  full(tmp_path / 'x', of_safetensors)
  assert list(tmp_path.iterdir()) == []


def test_a_folder_is_whole_or_not_there(tmp_path):
  path = tmp_path / 'a' / 'export'
  with pytest.raises(KeyError), files.whole_folder(path) as part:
    (part / 'half').write_text('')
    raise KeyError
  assert list(tmp_path.iterdir()) == []
  with pytest.raises(OSError) as full, files.whole_folder(path) as part:
    raise OSError(28, 'No space left on device', str(part / 'x'))
  assert full.value.filename == str(path / 'x')
  with files.whole_folder(path) as part:
    (part / 'sub').mkdir()
    (part / 'sub' / 'x').write_text('1')
    assert not path.exists()
  (path / 'theirs').write_text('kept')
  with files.whole_folder(path) as part:
    files.replace_text(part / 'sub' / 'x', '2')
    files.replace_text(part / 'y', '3')
    assert (path / 'sub' / 'x').read_text() == '1'
  there = {p.name: p.read_text() for p in path.rglob('*') if p.is_file()}
  assert there == {'x': '2', 'y': '3', 'theirs': 'kept'}
  assert [p.name for p in path.parent.iterdir()] == ['export']
  with pytest.raises(OSError, match='expected a folder'):
    files.whole_folder(path / 'y').__enter__()


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
