"""The cluster scripts: syntax, and what they run, seen by stand-in tools."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / 'launch' / 'clusters'
FILES = sorted(p for p in FOLDER.iterdir() if p.suffix != '.md')
SCRIPTS = [p for p in FILES if p.suffix in ('.sh', '.sbatch')]
MANIFESTS = [p for p in FILES if p.suffix == '.yaml']

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

# Fields of JobSet v1alpha2, batch/v1 Job and v1 Pod that may appear: {field:
# type, a list of one element's fields, or nested fields}; '*' takes any key.
POD = {
  'restartPolicy': str,
  'terminationGracePeriodSeconds': int,
  'serviceAccountName': str,
  'nodeSelector': {'*': str},
  'containers': [
    {
      'name': str,
      'image': str,
      'workingDir': str,
      'command': [str],
      'args': [str],
      'env': [{'name': str, 'value': str}],
      'ports': [{'containerPort': int, 'name': str}],
      'resources': {'limits': {'*': int}, 'requests': {'*': int}},
      'volumeMounts': [{'name': str, 'mountPath': str, 'readOnly': bool}],
      'securityContext': {'privileged': bool},
    }
  ],
  'volumes': [
    {
      'name': str,
      'csi': {
        'driver': str,
        'readOnly': bool,
        'volumeAttributes': {'*': str},
      },
      'emptyDir': {'medium': str, 'sizeLimit': str},
    }
  ],
}
METADATA = {'name': str, 'labels': {'*': str}, 'annotations': {'*': str}}
JOBSET = {
  'apiVersion': str,
  'kind': str,
  'metadata': METADATA,
  'spec': {
    'suspend': bool,
    'ttlSecondsAfterFinished': int,
    'failurePolicy': {
      'maxRestarts': int,
      'rules': [
        {'name': str, 'action': str, 'onJobFailureReasons': [str]},
      ],
    },
    'successPolicy': {'operator': str, 'targetReplicatedJobs': [str]},
    'network': {
      'enableDNSHostnames': bool,
      'subdomain': str,
      'publishNotReadyAddresses': bool,
    },
    'replicatedJobs': [
      {
        'name': str,
        'replicas': int,
        'template': {
          'metadata': METADATA,
          'spec': {
            'parallelism': int,
            'completions': int,
            'completionMode': str,
            'backoffLimit': int,
            'activeDeadlineSeconds': int,
            'podFailurePolicy': {
              'rules': [{'action': str, 'onPodConditions': [{'type': str}]}]
            },
            'template': {'metadata': METADATA, 'spec': POD},
          },
        },
      }
    ],
  },
}


def mismatches(value, schema, where='jobset') -> list[str]:
  """Lists where a document departs from a schema like `JOBSET`."""
  if isinstance(schema, dict):
    if not isinstance(value, dict):
      return [f'{where}: {value!r} is no mapping']
    problems = []
    for key, item in value.items():
      inner = schema.get(key, schema.get('*'))
      if inner is None:
        problems.append(f'{where}: unknown field {key!r}')
      else:
        problems += mismatches(item, inner, f'{where}.{key}')
    return problems
  if isinstance(schema, list):
    if not isinstance(value, list):
      return [f'{where}: {value!r} is no list']
    return [
      line
      for i, item in enumerate(value)
      for line in mismatches(item, schema[0], f'{where}[{i}]')
    ]
  # bool is an int to Python, but not to Kubernetes.
  return [] if type(value) is schema else [f'{where}: {value!r} is no {schema}']


@pytest.fixture
def jobset():
  return yaml.safe_load((FOLDER / 'jobset.yaml').read_text())


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


@pytest.mark.parametrize('path', MANIFESTS, ids=lambda p: p.name)
def test_manifests_follow_the_schema(path):
  manifest = yaml.safe_load(path.read_text())
  assert mismatches(manifest, JOBSET) == []
  assert manifest['apiVersion'] == 'jobset.x-k8s.io/v1alpha2'
  assert manifest['kind'] == 'JobSet'


def test_schema_check_sees_mistakes(jobset):
  job = jobset['spec']['replicatedJobs'][0]
  job['template']['spec']['backofLimit'] = 0
  job['replicas'] = '1'
  jobset['spec']['network'] = []
  assert mismatches(jobset, JOBSET) == [
    'jobset.spec.network: [] is no mapping',
    "jobset.spec.replicatedJobs[0].replicas: '1' is no <class 'int'>",
    "jobset.spec.replicatedJobs[0].template.spec: unknown field 'backofLimit'",
  ]


@pytest.mark.parametrize('path', MANIFESTS, ids=lambda p: p.name)
def test_manifests_restart_and_keep_what_is_written(path):
  manifest = yaml.safe_load(path.read_text())
  (job,) = manifest['spec']['replicatedJobs']
  spec = job['template']['spec']
  # Every pod has its number, and a failure is the JobSet's to mend.
  assert spec['parallelism'] == spec['completions']
  assert spec['completionMode'] == 'Indexed' and spec['backoffLimit'] == 0
  pod = spec['template']['spec']
  assert pod['restartPolicy'] == 'Never'  # which a pod failure policy needs
  (rule,) = manifest['spec']['failurePolicy']['rules']
  assert rule['onJobFailureReasons'] == ['PodFailurePolicy']
  # Workdir, data, weights and compiled programs lie where all pods see them.
  (container,) = pod['containers']
  (bucket,) = [v for v in pod['volumes'] if 'csi' in v]
  mounts = {m['name']: m['mountPath'] for m in container['volumeMounts']}
  shared = [entry['value'] for entry in container['env']] + [
    arg.split('=', 1)[1]
    for arg in container['args']
    if arg.startswith(('--workdir=', '--compilation_cache='))
  ]
  assert len(shared) == 4
  assert all(place.startswith(mounts[bucket['name']]) for place in shared)
  options = bucket['csi']['volumeAttributes']['mountOptions'].split(',')
  assert all(re.fullmatch(r'[a-z:-]+(=\d+|:\d+)?', o) for o in options)
  assert {o.partition('=')[0] for o in options} >= {
    'implicit-dirs',
    'rename-dir-limit',
    'file-mode',
    'dir-mode',
    'metadata-cache:ttl-secs:0',
  }


def test_tpu_hosts_agree(jobset):
  (job,) = jobset['spec']['replicatedJobs']
  spec = job['template']['spec']
  pod = spec['template']['spec']
  (container,) = pod['containers']
  assert container['command'] == ['python', '-m', 'launch.train']
  assert '--distributed=auto' in container['args']
  # Chips of the topology = hosts times chips of a host.
  topology = pod['nodeSelector']['cloud.google.com/gke-tpu-topology']
  chips = container['resources']['limits']['google.com/tpu']
  rows, columns = map(int, topology.split('x'))
  assert rows * columns == spec['parallelism'] * chips


def test_gpu_processes_find_each_other():
  gpu = yaml.safe_load((FOLDER / 'jobset_gpu.yaml').read_text())
  (job,) = gpu['spec']['replicatedJobs']
  spec = job['template']['spec']
  (container,) = spec['template']['spec']['containers']
  flags = dict(a.removeprefix('--').split('=', 1) for a in container['args'])
  assert flags['distributed'] == 'address'
  assert flags['num_processes'] == str(spec['parallelism'])
  assert flags['process_id'] == '$(JOB_COMPLETION_INDEX)'
  # Pod 0 of job 0 of this replicated job, in the JobSet's own subdomain.
  host, port = flags['coordinator'].split(':')
  name = gpu['metadata']['name']
  assert host == f'{name}-{job["name"]}-0-0.{name}'
  assert container['ports'] == [{'containerPort': int(port)}]
  chips = container['resources']['limits']['nvidia.com/gpu']
  (fsdp,) = [value for key, value in flags.items() if key.endswith('mesh.fsdp')]
  assert int(fsdp) == spec['parallelism'] * chips


@pytest.mark.parametrize('path', MANIFESTS, ids=lambda p: p.name)
def test_manifest_variables_are_the_documented_ones(path):
  text = path.read_text()
  names = {'IMAGE', 'BUCKET', 'SERVICE_ACCOUNT'}
  assert set(re.findall(r'\$\{(\w+)\}', text)) == names
  header = text[: text.index('apiVersion')]
  assert all(f'{name}=...' in header for name in names)


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
