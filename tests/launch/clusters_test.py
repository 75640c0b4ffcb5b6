"""The cluster scripts: syntax, and what they run, seen by stand-in tools."""

import os
import pathlib
import re
import shlex
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / 'launch' / 'clusters'
SCRIPTS = sorted(p for p in FOLDER.iterdir() if p.suffix in ('.sh', '.sbatch'))

# Writes one line for each call: the arguments, quoted for a shell.
STAND_IN = """#!/usr/bin/env bash
printf '%q ' "$(basename "$0")" "$@" >> "$CALLS"; echo >> "$CALLS"
case "$*" in *describe*) echo ACTIVE ;; esac
"""

# Fields of JobSet v1alpha2, batch/v1 Job and v1 Pod that may appear: {field:
# type, a list of one element's fields, or nested fields}; '*' takes any key.
POD = {
  'restartPolicy': str,
  'terminationGracePeriodSeconds': int,
  'serviceAccountName': str,
  'subdomain': str,
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
    'failurePolicy': {'maxRestarts': int},
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
  for name in ('gcloud', 'srun'):
    (binaries / name).write_text(STAND_IN)
    (binaries / name).chmod(0o755)
  calls = tmp_path / 'calls'
  environment = os.environ | {
    'PATH': f'{binaries}:{os.environ["PATH"]}',
    'CALLS': str(calls),
  }
  for name in ('GLUE_JAX_DATA', 'PROGRAM', 'VENV', 'MOUNT', 'SPOT'):
    environment.pop(name, None)
  return environment, lambda: [
    shlex.split(line) for line in calls.read_text().splitlines()
  ]


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


def test_every_script_says_the_one_command_for_all_hosts():
  for path in FOLDER.iterdir():
    text = path.read_text()
    header = text[: text.index('set -e' if path in SCRIPTS else 'apiVersion')]
    assert '--distributed=' in header, path
    assert '--workdir=' in text and '--config=' in text, path


def test_jobset_follows_the_schema(jobset):
  assert mismatches(jobset, JOBSET) == []
  assert jobset['apiVersion'] == 'jobset.x-k8s.io/v1alpha2'
  assert jobset['kind'] == 'JobSet'


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


def test_jobset_hosts_agree(jobset):
  (job,) = jobset['spec']['replicatedJobs']
  spec = job['template']['spec']
  assert spec['parallelism'] == spec['completions']
  assert spec['completionMode'] == 'Indexed'
  pod = spec['template']['spec']
  (container,) = pod['containers']
  assert container['command'] == ['python', '-m', 'launch.train']
  assert '--distributed=auto' in container['args']
  # Chips of the topology = hosts times chips of a host.
  topology = pod['nodeSelector']['cloud.google.com/gke-tpu-topology']
  chips = container['resources']['limits']['google.com/tpu']
  rows, columns = map(int, topology.split('x'))
  assert rows * columns == spec['parallelism'] * chips
  # The workdir lies on a volume that all pods share.
  (mount,) = container['volumeMounts']
  assert mount['name'] in [volume['name'] for volume in pod['volumes']]
  workdir = next(a for a in container['args'] if a.startswith('--workdir='))
  assert workdir.removeprefix('--workdir=').startswith(mount['mountPath'])


def test_jobset_variables_are_the_documented_ones(jobset):
  text = (FOLDER / 'jobset.yaml').read_text()
  assert set(re.findall(r'\$\{(\w+)\}', text)) == {'IMAGE', 'BUCKET'}
  assert 'IMAGE=... BUCKET=... envsubst' in text


def test_slurm_runs_the_command_on_every_node(tmp_path, tools):
  environment, calls = tools
  submit = tmp_path / 'submit'
  (submit / '.venv' / 'bin').mkdir(parents=True)
  (submit / '.venv' / 'bin' / 'activate').write_text('')
  environment['SLURM_SUBMIT_DIR'] = str(submit)
  run(
    'slurm.sbatch',
    '--config=configs/glue.py:mnli',
    '--workdir=/shared/my runs',
    env=environment,
  )
  assert calls() == [
    ['srun', '--kill-on-bad-exit=1', 'python', '-m', 'launch.train']
    + ['--config=configs/glue.py:mnli', '--workdir=/shared/my runs']
    + ['--distributed=slurm']
  ]


def test_slurm_array_runs_one_cell_each(tmp_path, tools):
  environment, calls = tools
  (tmp_path / '.venv' / 'bin').mkdir(parents=True)
  (tmp_path / '.venv' / 'bin' / 'activate').write_text('')
  environment['SLURM_SUBMIT_DIR'] = str(tmp_path)
  environment['PROGRAM'] = 'launch.sweep'
  done = run('slurm.sbatch', '--grid=a=1', env=environment, check=False)
  assert done.returncode != 0 and '--array' in done.stderr
  environment['SLURM_ARRAY_TASK_ID'] = '7'
  run('slurm.sbatch', '--grid=a=1', env=environment)
  (call,) = calls()
  assert call[2:] == ['python', '-m', 'launch.sweep', '--grid=a=1', '--cell=7']


def test_tpu_create_waits_and_train_reaches_all_workers(tools):
  environment, calls = tools
  environment |= {'PROJECT': 'p', 'ZONE': 'z', 'GLUE_JAX_DATA': '/mnt/my data'}
  out = run('tpu_queued.sh', 'create', env=environment)
  assert 'ACTIVE' in out.stdout
  workdir = "--workdir=/mnt/it's here"
  run('tpu_queued.sh', 'train', '--config=c.py:rte', workdir, env=environment)
  created, described, trained = calls()
  assert created[1:6] == ['compute', 'tpus', 'queued-resources'] + [
    'create',
    'glue-jax',
  ]
  assert '--accelerator-type=v5litepod-16' in created
  assert '--spot' not in created
  assert described[4] == 'describe'
  assert '--worker=all' in trained
  remote = next(a for a in trained if a.startswith('--command='))
  words = shlex.split(remote.removeprefix('--command='))
  assert words[:3] == ['cd', 'glue_jax', '&&']
  assert words[3] == 'GLUE_JAX_DATA=/mnt/my data'
  assert words[5:] == ['-m', 'launch.train', '--distributed=tpu'] + [
    '--config=c.py:rte',
    workdir,
  ]


def test_tpu_needs_project_and_known_step(tools):
  environment, _ = tools
  environment.pop('PROJECT', None)
  done = run('tpu_queued.sh', 'create', env=environment, check=False)
  assert done.returncode != 0 and 'set PROJECT' in done.stderr
  environment |= {'PROJECT': 'p', 'ZONE': 'z'}
  done = run('tpu_queued.sh', 'trian', env=environment, check=False)
  assert done.returncode == 2 and 'usage' in done.stderr
