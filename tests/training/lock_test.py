"""Who holds a workdir, and when a lock is taken over."""

import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from glue_jax.training import lock


def record(**changes):
  """A lock of a process that lives: the one that started this one."""
  pid = os.getppid()
  own = lock._own() | {'pid': pid, 'process_started': lock._started(pid)}
  return own | changes


def put(folder, content, age=0.0):
  """Writes a lock that was touched some seconds ago."""
  path = folder / lock.NAME
  path.write_text(content if isinstance(content, str) else json.dumps(content))
  then = time.time() - age
  os.utime(path, (then, then))
  return path


def dead_process():
  process = subprocess.Popen([sys.executable, '-c', ''])
  process.wait()
  return process.pid


def test_a_held_lock_names_its_process_and_is_released(tmp_path):
  with lock.hold(tmp_path):
    held = json.loads((tmp_path / lock.NAME).read_text())
    assert held['host'] == socket.gethostname() and held['pid'] == os.getpid()
    with lock.hold(tmp_path):  # a run of one seed is its own part
      pass
    assert (tmp_path / lock.NAME).is_file()
    assert lock.holder(tmp_path) is None  # it is this process itself
  assert list(tmp_path.iterdir()) == []


def test_an_error_releases_it_and_leaves_no_folder(tmp_path):
  with pytest.raises(KeyError), lock.hold(tmp_path / 'runs' / 'one'):
    raise KeyError
  assert not (tmp_path / 'runs').exists()
  with lock.hold(tmp_path / 'runs'):
    (tmp_path / 'runs' / 'kept').write_text('')
  assert [p.name for p in (tmp_path / 'runs').iterdir()] == ['kept']


def test_a_living_process_of_this_host_keeps_others_out(tmp_path):
  # However long it was silent: it may have been halted.
  path = put(tmp_path, record(), age=10 * lock.SILENT)
  before = path.read_text()
  who = f'process {os.getppid()} on {socket.gethostname()}'
  refused = pytest.raises(lock.Locked, match=f'in use by {who}, since 20')
  with refused, lock.hold(tmp_path):
    pass
  assert path.read_text() == before and len(list(tmp_path.iterdir())) == 1
  assert lock.holder(tmp_path).startswith(who)


@pytest.mark.parametrize(
  'content, age',
  [
    (lambda: record(pid=dead_process()), 0),
    (lambda: record(process_started='1'), 0),  # its number is another's now
    (lambda: record(place='another boot', host='node7'), 2 * lock.SILENT),
    (lambda: '{"host": "no', 2 * lock.SILENT),  # cut short by a power cut
  ],
  ids=['dead', 'number given anew', 'silent elsewhere', 'not whole'],
)
def test_the_lock_of_a_dead_process_is_taken_over(tmp_path, content, age):
  path = put(tmp_path, content(), age)
  assert lock.holder(tmp_path) is None
  with lock.hold(tmp_path):
    assert json.loads(path.read_text())['pid'] == os.getpid()
  assert list(tmp_path.iterdir()) == []


def test_one_elsewhere_is_waited_for_until_it_is_silent_for_long(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(lock, 'SILENT', 0.5)
  monkeypatch.setattr(lock, 'BEAT', 0.05)
  put(tmp_path, record(place='another host', host='node7'))
  began = time.monotonic()
  with lock.hold(tmp_path):
    assert time.monotonic() - began > 0.3


def test_a_sign_of_life_from_elsewhere_keeps_others_out(tmp_path, monkeypatch):
  monkeypatch.setattr(lock, 'BEAT', 0.05)
  path = put(tmp_path, record(place='another host', host='node7'), age=5)
  threading.Timer(0.2, os.utime, (path,)).start()
  with pytest.raises(lock.Locked, match='on node7'), lock.hold(tmp_path):
    pass
  assert 'on node7' in lock.holder(tmp_path)


def test_one_elsewhere_that_ends_meanwhile_is_followed(tmp_path, monkeypatch):
  monkeypatch.setattr(lock, 'BEAT', 0.05)
  path = put(tmp_path, record(place='another host', host='node7'), age=5)
  threading.Timer(0.2, path.unlink).start()
  with lock.hold(tmp_path):
    assert json.loads(path.read_text())['pid'] == os.getpid()


def test_a_holder_touches_its_lock(tmp_path, monkeypatch):
  monkeypatch.setattr(lock, 'BEAT', 0.02)
  with lock.hold(tmp_path):
    path = put(tmp_path, (tmp_path / lock.NAME).read_text(), age=50)
    deadline = time.monotonic() + 5
    while lock._age(path) > 40:
      assert time.monotonic() < deadline
      time.sleep(0.01)


def test_who_was_taken_for_dead_ends(tmp_path, monkeypatch):
  ended = threading.Event()
  monkeypatch.setattr(lock, 'BEAT', 0.02)
  monkeypatch.setattr(lock.os, '_exit', lambda status: ended.set())
  with lock.hold(tmp_path):
    put(tmp_path, record())
    assert ended.wait(5)
  assert (tmp_path / lock.NAME).is_file()  # the other's, left to it


def test_of_two_that_take_over_one_gives_back(tmp_path):
  path = put(tmp_path, 'the new one')
  lock._take_away(path, 'the dead one')
  assert path.read_text() == 'the new one'
  lock._take_away(path, 'the new one')
  assert list(tmp_path.iterdir()) == []


def test_storage_without_hard_links(tmp_path, monkeypatch):
  def link(*_):
    raise PermissionError(1, 'Operation not permitted')

  monkeypatch.setattr(lock.os, 'link', link)
  assert lock._put(tmp_path / lock.NAME, 'a')
  assert not lock._put(tmp_path / lock.NAME, 'b')
  assert (tmp_path / lock.NAME).read_text() == 'a'
  assert len(list(tmp_path.iterdir())) == 1
