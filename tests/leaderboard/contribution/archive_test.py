"""Folders and zips that an attacker made: every rule has its sample."""

import json
import os
import socket
import stat
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from glue_jax.leaderboard.contribution import archive, check
from glue_jax.leaderboard.safety import DEFAULT, Limits, Refused
from tests.leaderboard import boards


@pytest.fixture
def board(tmp_path):
  return boards.make(tmp_path / 'board')


@pytest.fixture
def method(board):
  return board / 'contributions' / 'method-0'


def read_all(path, limits=DEFAULT):
  source = archive.open_files(path, limits)
  return {name: source.read(name) for name in source.names}


def write_zip(path, members, **fields):
  """A zip of {name: bytes}; fields are set on every member's record."""
  with zipfile.ZipFile(path, 'w') as file:
    for name, data in members.items():
      info = zipfile.ZipInfo('x')
      info.filename = name  # as it stands, without any repair
      info.compress_type = zipfile.ZIP_DEFLATED
      for key, value in fields.items():
        setattr(info, key, value)
      file.writestr(info, data)
  return path


def test_zip_and_folder_give_the_same_files(board, method, tmp_path):
  path = boards.as_zip(method, tmp_path / 'method-0.zip')
  assert read_all(path) == read_all(method)
  assert boards.problems(board, path) == boards.problems(board, method) == []
  before = sorted(tmp_path.rglob('*'))
  check.read(path)
  assert sorted(tmp_path.rglob('*')) == before  # nothing is extracted


@pytest.mark.parametrize(
  'name',
  [
    '/etc/passwd',
    '../../x',
    'a/../../x',
    'a/..',
    '..\\x',
    'a\\b',
    'C:x',
    'c:/x',
    './x',
    'a//b',
    'a\0b',
    'x' * 201,
  ],
)
def test_member_names_that_lead_elsewhere_are_refused(tmp_path, name):
  path = write_zip(tmp_path / 'm.zip', {name: b'x'})
  with pytest.raises(Refused, match='name .* refused'):
    archive.open_files(path, DEFAULT)


@pytest.mark.parametrize(
  'kind', [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO]
)
def test_links_and_devices_in_a_zip_are_refused(tmp_path, kind):
  path = write_zip(
    tmp_path / 'm.zip', {'a': b'/etc/passwd'}, external_attr=kind << 16
  )
  with pytest.raises(Refused, match='a link or device'):
    archive.open_files(path, DEFAULT)


def test_encrypted_members_are_refused(tmp_path):
  path = write_zip(tmp_path / 'm.zip', {'a': b'x'})
  data = bytearray(path.read_bytes())
  data[data.index(b'PK\1\2') + 8] |= 1
  path.write_bytes(data)
  with pytest.raises(Refused, match='encrypted'):
    archive.open_files(path, DEFAULT)


def test_archives_in_archives_are_refused_by_name_and_by_content(tmp_path):
  inner = write_zip(tmp_path / 'inner.zip', {'a': b'x'}).read_bytes()
  for name in ('a.zip', 'a.tar.gz', 'A.ZIP', 'a.7z'):
    path = write_zip(tmp_path / 'm.zip', {name: inner})
    with pytest.raises(Refused, match='an archive inside an archive'):
      archive.open_files(path, DEFAULT)
  path = write_zip(tmp_path / 'm.zip', {'run.sh': inner})
  with pytest.raises(Refused, match='an archive inside an archive'):
    read_all(path)


@pytest.mark.filterwarnings('ignore:Duplicate name')
def test_a_name_twice_is_refused(tmp_path):
  path = tmp_path / 'm.zip'
  with zipfile.ZipFile(path, 'w') as file:
    file.writestr('run.sh', 'good')
    file.writestr('run.sh', 'evil')
  with pytest.raises(Refused, match='two members have the same name'):
    archive.open_files(path, DEFAULT)


def test_only_64_members_are_allowed(tmp_path):
  names = {f'a{i}': b'x' for i in range(65)}
  with pytest.raises(Refused, match='65 members .* at most 64'):
    archive.open_files(write_zip(tmp_path / 'm.zip', names), DEFAULT)
  del names['a0']
  assert len(read_all(write_zip(tmp_path / 'm.zip', names))) == 64


def test_methods_that_unpack_without_bound_are_refused(tmp_path):
  path = tmp_path / 'm.zip'
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_BZIP2) as file:
    file.writestr('a', bytes(1000))
  with pytest.raises(Refused, match='method 12; expected deflate'):
    archive.open_files(path, DEFAULT)


def test_bytes_are_counted_as_they_are_read(tmp_path):
  rng = np.random.default_rng(0)
  noise = rng.bytes(5000)
  path = write_zip(tmp_path / 'm.zip', {'a': noise, 'b': noise})
  with pytest.raises(Refused, match='over 4999 bytes'):
    read_all(path, Limits(file_bytes=4999))
  size = path.stat().st_size
  source = archive.open_files(path, Limits(total_bytes=size))
  assert source.read('a') == noise
  source.read('b')
  with pytest.raises(Refused, match=f'a:0: over {size - 10_000} bytes'):
    source.read('a')
  with pytest.raises(Refused, match=f'over {size - 1} bytes'):
    archive.open_files(path, Limits(total_bytes=size - 1))
  assert read_all(path)['b'] == noise


def test_a_header_that_understates_the_size_is_no_way_around(tmp_path):
  path = write_zip(tmp_path / 'm.zip', {'a': bytes(1_000_000)})
  data = bytearray(path.read_bytes())
  for mark, offset in ((b'PK\3\4', 22), (b'PK\1\2', 24)):
    at = data.index(mark) + offset
    data[at : at + 4] = (10).to_bytes(4, 'little')
  path.write_bytes(data)
  with pytest.raises(Refused, match='damaged'):
    read_all(path)


def test_what_expands_100_times_is_refused(tmp_path):
  path = write_zip(tmp_path / 'm.zip', {'a': bytes(1_000_000)})
  with pytest.raises(Refused, match='over 100 times, as a zip bomb'):
    read_all(path)
  assert read_all(path, Limits(ratio=2000))['a'] == bytes(1_000_000)


BOMB = """
import sys, time
from glue_jax.leaderboard import safety
from glue_jax.leaderboard.contribution import archive
start, text = time.perf_counter(), ''
try:
  source = archive.open_files(sys.argv[1], safety.DEFAULT)
  for name in source.names:
    source.read(name)
except safety.Refused as error:
  text = str(error)
spent = time.perf_counter() - start
with open('/proc/self/status') as file:
  peak = next(int(l.split()[1]) for l in file if l.startswith('VmHWM'))
import json
print(json.dumps([text, spent, peak / 1000]))
"""


@pytest.mark.skipif(
  not os.path.exists('/proc/self/status'),
  reason='peak memory is read from /proc, which this system lacks',
)
@pytest.mark.parametrize(
  'members, megabytes, why',
  [
    (125, 42, '125 members'),  # 5.2 GB in 50 kB
    (64, 82, 'members overlap'),  # 5.2 GB in 85 kB
    (1, 42, 'as a zip bomb does'),  # 44 MB in 43 kB
  ],
)
def test_a_zip_bomb_costs_less_than_a_second_and_50_mb(
  tmp_path, members, megabytes, why
):
  path = tmp_path / 'bomb.zip'
  boards.overlapping_bomb(path, members, megabytes << 20)
  assert path.stat().st_size < 500_000
  with zipfile.ZipFile(path) as file:  # the bomb is a real one
    total = sum(member.file_size for member in file.infolist())
    assert total == members * megabytes << 20
    with file.open(file.infolist()[0]) as stream:
      assert stream.read(1 << 20) == bytes(1 << 20)
  out = subprocess.run(
    [sys.executable, '-c', BOMB, str(path)],
    check=True,
    capture_output=True,
    text=True,
  )
  text, seconds, peak = json.loads(out.stdout)
  assert why in text
  assert seconds < 1.0
  assert peak < 50.0  # MB, of the whole process


@pytest.mark.parametrize('where', ['', 'before', 'after', 'comment'])
def test_bytes_around_a_zip_are_refused(method, tmp_path, where):
  path = boards.as_zip(method, tmp_path / 'm.zip')
  data = path.read_bytes()
  if where == 'comment':
    data = data[:-2] + b'\3\0abc'
  path.write_bytes(
    b'abc' * (where == 'before') + data + b'abc' * (where == 'after')
  )
  if where:
    with pytest.raises(Refused):
      archive.open_files(path, DEFAULT)
  else:
    assert archive.open_files(path, DEFAULT).names


def test_any_damage_to_a_zip_is_a_problem_and_no_crash(method, tmp_path):
  whole = boards.as_zip(method, tmp_path / 'method-0.zip').read_bytes()
  rng = np.random.default_rng(0)
  refused = 0
  for _ in range(400):
    data = bytearray(whole)
    for at in rng.integers(0, len(data), rng.integers(1, 4)):
      data[at] = rng.integers(256)
    if rng.random() < 0.2:
      data = data[: rng.integers(len(data))]
    (tmp_path / 'method-0.zip').write_bytes(data)
    refused += bool(check.read(tmp_path / 'method-0.zip').problems)
  assert refused > 300  # some bytes, as of dates, mean nothing here


@pytest.mark.parametrize('target', ['/etc/passwd', '../../registry.json', '.'])
@pytest.mark.parametrize(
  'place', ['run.sh', 'task-0', 'task-0/predictions.jsonl']
)
def test_symbolic_links_in_a_folder_are_refused(method, target, place):
  path = method / place
  path = path.rename(path.with_name('moved')) and path
  path.symlink_to(target)
  with pytest.raises(Refused, match='symbolic link'):
    archive.open_files(method, DEFAULT)


def test_a_contribution_that_is_a_link_is_refused(board, method, tmp_path):
  link = method.with_name('link')
  link.symlink_to(method)
  assert 'symbolic link' in check.read(link).problems[0]
  archive = boards.as_zip(method, tmp_path / 'm.zip')
  (tmp_path / 'other.zip').symlink_to(archive)
  assert 'symbolic link' in check.read(tmp_path / 'other.zip').problems[0]


def test_a_folder_that_becomes_a_link_while_read_is_refused(method, tmp_path):
  source = archive.open_files(method, DEFAULT)
  (method / 'task-0').rename(tmp_path / 'task-0')
  (method / 'task-0').symlink_to(tmp_path / 'task-0')
  with pytest.raises(Refused, match='leads out of the contribution'):
    source.read('task-0/predictions.jsonl')


@pytest.mark.parametrize('name', ['../x', '/etc/passwd', 'a/../../x', 'a\\b'])
def test_names_that_leave_a_folder_are_refused(method, name):
  source = archive.open_files(method, DEFAULT)
  with pytest.raises(Refused, match='refused'):
    source.read(name)


def test_pipes_and_sockets_neither_pass_nor_stop_the_reader(method, tmp_path):
  os.mkfifo(method / 'run.pipe')
  with pytest.raises(Refused, match='neither file nor folder'):
    archive.open_files(method, DEFAULT)
  (method / 'run.pipe').unlink()
  source = archive.open_files(method, DEFAULT)
  (method / 'run.sh').unlink()
  os.mkfifo(method / 'run.sh')  # after the listing
  with pytest.raises(Refused, match='no plain file'):
    source.read('run.sh')
  here = os.getcwd()
  os.chdir(method)  # a socket's name may have 100 bytes only
  try:
    with socket.socket(socket.AF_UNIX) as unix:
      unix.bind('socket')
      with pytest.raises(Refused, match='neither file nor folder'):
        archive.open_files(method, DEFAULT)
  finally:
    os.chdir(here)


def test_folders_have_bounds_too(method):
  deep = method / 'a/b/c/d/e'
  deep.mkdir(parents=True)
  with pytest.raises(Refused, match='more than 4 folders deep'):
    archive.open_files(method, DEFAULT)
  deep.rmdir()
  deep.parent.rmdir()
  with pytest.raises(Refused, match='over 3 entries'):
    archive.open_files(method, Limits(entries=3))
  for part in ('a', 'a/b'):  # 4 + 4 + 4 + 1, in no folder more than 4
    for i in range(3):
      (method / part / str(i)).mkdir()
  archive.open_files(method, Limits(entries=4))
  for part in ('a/0', 'a/1'):
    for i in range(3):
      (method / part / str(i)).mkdir()
  with pytest.raises(Refused, match='over 16 files and folders'):
    archive.open_files(method, Limits(entries=4))


def test_bytes_of_a_folder_are_counted_as_they_are_read(method):
  source = archive.open_files(method, Limits(total_bytes=20))
  with pytest.raises(Refused, match='run.sh:0: over 3 bytes'):
    source.read('run.sh', 3)
  assert len(source.read('run.sh')) == 17
  with pytest.raises(Refused, match='run.sh:0: over 3 bytes'):
    source.read('run.sh')
