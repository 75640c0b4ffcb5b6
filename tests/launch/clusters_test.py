"""The cluster scripts: syntax, and what they run, seen by stand-in tools."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / 'launch' / 'clusters'
FILES = sorted(p for p in FOLDER.iterdir() if p.suffix != '.md')
SCRIPTS = [p for p in FILES if p.suffix in ('.sh', '.sbatch')]

# Writes down each call: its words end with a NUL, the call with a byte of one.
STAND_IN = """#!/usr/bin/env bash
printf '%s\\0' "$(basename "$0")" "$@" >> "$CALLS"; printf '\\1' >> "$CALLS"
case "$*" in *describe*) echo ACTIVE ;; esac
if [[ $0 == */srun ]]; then exit "${SRUN_STATUS:-0}"; fi
"""

# Options of `sbatch` that the script may have, and what their values look like:
# https://slurm.schedmd.com/sbatch.html
SBATCH = {
  'job-name': r'\w+',
  'ntasks-per-node': r'\d+',
  'gpus-per-node': r'(\w+:)?\d+',
  'cpus-per-task': r'\d+',
  'time': r'(\d+-)?\d+:\d\d:\d\d',
  'output': r'.*%j.*',
  'open-mode': 'append|truncate',
  'signal': r'(B:)?[A-Z]+@\d+',
  'requeue': '',
}


@pytest.fixture
def tools(tmp_path):
  """Stand-ins for the cluster's tools; returns (environment, calls())."""
  binaries = tmp_path / 'bin'
  binaries.mkdir()
  for name in ('gcloud', 'srun', 'scontrol'):
    (binaries / name).write_text(STAND_IN)
    (binaries / name).chmod(0o755)
  calls = tmp_path / 'calls'
  environment = os.environ | {
    'PATH': f'{binaries}:{os.environ["PATH"]}',
    'CALLS': str(calls),
    'PROJECT': 'p',
    'ZONE': 'z',
  }
  for name in list(environment):
    own = name.startswith(('GLUE_JAX_', 'SLURM_'))
    if own or name in ('PROGRAM', 'VENV', 'MOUNT', 'MOUNT_POINT', 'SPOT'):
      del environment[name]
  return environment, lambda: [
    call.split('\0')[:-1] for call in calls.read_text().split('\1')[:-1]
  ]


@pytest.fixture
def job(tmp_path, tools):
  """The environment of a batch script, and calls()."""
  environment, calls = tools
  (tmp_path / '.venv' / 'bin').mkdir(parents=True)
  (tmp_path / '.venv' / 'bin' / 'activate').write_text('')
  environment |= {
    'SLURM_SUBMIT_DIR': str(tmp_path),
    'SLURM_JOB_ID': '7',
    'SLURM_CPUS_PER_TASK': '32',
  }
  return environment, calls


def run(script, *args, env, check=True):
  return subprocess.run(
    ['bash', FOLDER / script, *args],
    env=env,
    cwd=ROOT,
    check=check,
    capture_output=True,
    text=True,
  )


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda p: p.name)
def test_shell_syntax(script):
  subprocess.run(['bash', '-n', script], check=True)


def test_every_file_says_the_one_command_for_all_hosts():
  for path in FILES:
    text = path.read_text()
    assert '--distributed=' in text, path
    assert '--workdir=' in text and '--config=' in text, path
    for variable in ('GLUE_JAX_DATA', 'GLUE_JAX_WEIGHTS'):
      assert variable in text, (path, variable)


def test_the_readme_names_every_file():
  text = (FOLDER / 'README.md').read_text()
  assert all(f'`{path.name}`' in text for path in FILES)


def test_sbatch_options_are_those_of_sbatch():
  lines = (FOLDER / 'slurm.sbatch').read_text().splitlines()
  given = [line[len('#SBATCH --') :] for line in lines if '#SBATCH' in line]
  options = dict(line.partition('=')[::2] for line in given)
  assert len(options) == len(given) and options.keys() == SBATCH.keys()
  wrong = {k: v for k, v in options.items() if not re.fullmatch(SBATCH[k], v)}
  assert wrong == {}
  # SLURM reads none below the first command.
  assert lines.index('set -euo pipefail') > lines.index('#SBATCH --requeue')


def test_slurm_runs_the_command_on_every_node(job):
  environment, calls = job
  arguments = ['--config=configs/glue.py:mnli', '--workdir=/shared/my runs']
  run('slurm.sbatch', *arguments, env=environment)
  assert calls() == [
    ['srun', '--kill-on-bad-exit=1', '--cpus-per-task=32']
    + ['python', '-m', 'launch.train']
    + arguments
    + ['--distributed=slurm']
  ]


@pytest.mark.parametrize('status, again', [(0, False), (1, False), (143, True)])
def test_slurm_queues_a_stopped_run_again(job, status, again):
  environment, calls = job
  environment['SRUN_STATUS'] = str(status)
  done = run('slurm.sbatch', env=environment, check=False)
  assert done.returncode == status
  assert (['scontrol', 'requeue', '7'] in calls()) == again


def test_slurm_array_runs_one_cell_each(job):
  environment, calls = job
  environment['PROGRAM'] = 'launch.sweep'
  done = run('slurm.sbatch', '--grid=a=1', env=environment, check=False)
  assert done.returncode != 0 and '--array' in done.stderr
  environment['SLURM_ARRAY_TASK_ID'] = '7'
  run('slurm.sbatch', '--grid=a=1', env=environment)
  (call,) = calls()
  assert call[3:] == ['python', '-m', 'launch.sweep', '--grid=a=1', '--cell=7']


def test_tpu_create_waits(tools):
  environment, calls = tools
  out = run('tpu_queued.sh', 'create', env=environment)
  assert 'ACTIVE' in out.stdout
  created, described = calls()
  assert created[1:6] == ['compute', 'tpus', 'queued-resources'] + [
    'create',
    'glue-jax',
  ]
  assert '--accelerator-type=v5litepod-16' in created
  assert '--spot' not in created
  assert described[4] == 'describe'


def remote(call):
  """The shell command that a call of gcloud gives to the hosts."""
  (command,) = [a for a in call if a.startswith('--command=')]
  return command.removeprefix('--command=')


# Stands in for the run: says what it got, and saves when it is asked to stop.
TRAIN = """#!/usr/bin/env bash
trap 'echo saved; exit 143' TERM
printf '%s\n' "$GLUE_JAX_DATA" "$GLUE_JAX_WEIGHTS" "$@" started
while true; do sleep 0.05; done
"""


def test_tpu_runs_outlive_the_connection(tmp_path, tools):
  """The commands for the hosts, in a home of their own on this machine."""
  environment, calls = tools
  data = {'GLUE_JAX_DATA': '/mnt/my data', 'GLUE_JAX_WEIGHTS': "/mnt/it's"}
  flags = ['--config=c.py:rte', "--workdir=/mnt/it's here"]
  run('tpu_queued.sh', 'train', *flags, env=environment | data)
  for step in ('log', 'stop'):
    run('tpu_queued.sh', step, env=environment)
  assert ['--worker=all' in call for call in calls()] == [True, False, True]
  train, log, stop = map(remote, calls())

  home = tmp_path / 'home'
  (home / 'glue_jax').mkdir(parents=True)
  python = home / 'glue_jax_venv' / 'bin' / 'python'
  python.parent.mkdir(parents=True)
  python.write_text(TRAIN)
  python.chmod(0o755)

  def on_host(command):
    # As sshd: a session of its own, which gets SIGHUP when it ends.
    child = subprocess.Popen(
      ['bash', '-c', command],
      cwd=home,
      env=environment | {'HOME': str(home)},
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
      start_new_session=True,
    )
    out, _ = child.communicate(timeout=20)
    with contextlib.suppress(ProcessLookupError):
      os.killpg(child.pid, signal.SIGHUP)
    return child.returncode, out

  assert on_host(train) == (0, '')
  code, out = on_host(train)
  assert code == 1 and 'a run is going on; stop it first' in out
  assert on_host(stop)[0] == 0
  code, out = on_host(log)  # ends by itself when the run has ended
  started = ['-m', 'launch.train', '--distributed=tpu', *flags]
  assert out.splitlines() == [*data.values(), *started, 'started', 'saved']
  assert on_host(stop)[0] != 0


def test_tpu_mounts_once(tmp_path, tools):
  environment, calls = tools
  environment['MOUNT'] = 'echo mounted >> mounts'
  done = run('tpu_queued.sh', 'train', env=environment, check=False)
  assert done.returncode != 0 and 'needs MOUNT_POINT' in done.stderr
  environment['MOUNT_POINT'] = '/mnt/my runs'
  for step in ('install', 'train'):
    run('tpu_queued.sh', step, env=environment)
  _, installing, training = calls()[-3:]
  for name in ('mountpoint', 'sudo'):
    path = tmp_path / 'bin' / name
    path.write_text('#!/bin/bash\n[[ $0 == */sudo ]] || grep -q . mounts\n')
    path.chmod(0o755)
  (tmp_path / 'mounts').touch()
  for call in (installing, training):
    line = remote(call).splitlines()[0]
    assert '/mnt/my\\ runs' in line
    subprocess.run(
      ['bash', '-c', line], cwd=tmp_path, env=environment, check=True
    )
  assert (tmp_path / 'mounts').read_text() == 'mounted\n'


def test_tpu_needs_project_and_known_step(tools):
  environment, _ = tools
  done = run('tpu_queued.sh', 'trian', env=environment, check=False)
  assert done.returncode == 2 and 'usage' in done.stderr
  del environment['PROJECT']
  done = run('tpu_queued.sh', 'create', env=environment, check=False)
  assert done.returncode != 0 and 'set PROJECT' in done.stderr
