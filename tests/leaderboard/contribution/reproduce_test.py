"""A stranger's run.sh: off by default, and in a container only.

The engine here is a script in place of podman. It writes down its arguments
and runs what stands behind the image as the container would.
"""

import stat
import time

import pytest

from glue_jax.leaderboard.contribution import reproduce
from tests.leaderboard import boards

ENGINE = """#!/bin/sh
[ "$1" = kill ] && { echo "$2" > "{out}.killed"; exit 0; }
printf '%s\\n' "$@" > "{out}.arguments"
while [ "$1" != --entrypoint=timeout ]; do shift; done
shift 2
export PATH=/usr/bin:/bin
exec timeout $(printf '%s ' "$@" | sed 's#/contribution#{method}#')
"""


@pytest.fixture
def method(tmp_path):
  return boards.make(tmp_path / 'board') / 'contributions/method-0'


@pytest.fixture
def engine(tmp_path, method, monkeypatch):
  """Puts the script on the path; returns the prefix of what it leaves."""
  path = tmp_path / 'bin/podman'
  path.parent.mkdir()
  text = ENGINE.replace('{out}', str(tmp_path / 'engine'))
  path.write_text(text.replace('{method}', str(method)))
  path.chmod(path.stat().st_mode | stat.S_IEXEC)
  monkeypatch.setenv('PATH', f'{path.parent}:/usr/bin:/bin')
  return tmp_path / 'engine'


def test_nothing_runs_unless_it_is_allowed(method, engine, tmp_path):
  (method / 'run.sh').write_text(f'touch {tmp_path}/ran\n')
  with pytest.raises(PermissionError, match='read it first, then add --allow'):
    reproduce.run(reproduce.Container('image'), method, tmp_path / 'out')
  assert not (tmp_path / 'ran').exists()
  assert not (tmp_path / 'engine.arguments').exists()
  assert not (tmp_path / 'out').exists()


def test_the_container_has_no_network_and_limits(method, engine, tmp_path):
  (method / 'run.sh').write_text('exit 7\n')
  container = reproduce.Container('image', seconds=30, memory_mb=512, cpus=1.5)
  status = reproduce.run(
    container, method, tmp_path / 'out', {'/data': tmp_path}, allow=True
  )
  assert status == 7
  given = (tmp_path / 'engine.arguments').read_text().splitlines()
  assert given[0] == 'run'
  image = given.index('image')
  assert set(given[:image]) >= {
    '--rm',
    '--network=none',
    '--pull=never',
    '--read-only',
    '--cap-drop=ALL',
    '--security-opt=no-new-privileges',
    '--memory=512m',
    '--memory-swap=512m',
    '--cpus=1.5',
    '--pids-limit=512',
    '--user=65534:65534',
    f'--volume={method}:/contribution:ro',
    f'--volume={tmp_path}:/data:ro',
    f'--volume={tmp_path / "out"}:/out:rw',
  }
  writable = [p for p in given if p.startswith('--volume') and p.endswith('rw')]
  assert len(writable) == 1
  assert not any('privileged' in p for p in given if 'no-new' not in p)
  command = ['--signal=KILL', '30', 'sh', '/contribution/run.sh']
  assert given[image + 1 :] == command


def test_a_run_that_does_not_end_is_killed(method, engine, tmp_path):
  (method / 'run.sh').write_text('sleep 60\n')
  container = reproduce.Container('image', seconds=1)
  start = time.monotonic()
  status = reproduce.run(container, method, tmp_path / 'out', allow=True)
  assert status != 0 and time.monotonic() - start < 30


def test_an_engine_that_hangs_is_told_to_kill(
  method, engine, tmp_path, monkeypatch
):
  (method / 'run.sh').write_text('exec sleep 60\n')
  monkeypatch.setattr(reproduce, '_GRACE', -59)
  container = reproduce.Container('image', seconds=60)
  with pytest.raises(TimeoutError, match='podman did not end'):
    reproduce.run(container, method, tmp_path / 'out', allow=True)
  killed = (tmp_path / 'engine.killed').read_text().strip()
  assert f'--name={killed}' in (tmp_path / 'engine.arguments').read_text()


def test_what_cannot_be_run_is_said(method, engine, tmp_path, monkeypatch):
  container = reproduce.Container('image')
  archive = boards.as_zip(method, tmp_path / 'method-0.zip')
  with pytest.raises(ValueError, match='no folder with a run.sh'):
    reproduce.run(container, archive, tmp_path / 'out', allow=True)
  with pytest.raises(ValueError, match='colon or comma'):
    reproduce.run(container, method, tmp_path / 'a:b', allow=True)
  monkeypatch.setenv('PATH', '')
  with pytest.raises(FileNotFoundError, match="'podman', 'docker'"):
    reproduce.run(container, method, tmp_path / 'o', allow=True)
  (method / 'metadata.json').unlink()
  with pytest.raises(ValueError, match='no metadata.json'):
    reproduce.run(container, method, tmp_path / 'o', allow=True)
