"""The manifests for Kubernetes: fields that there are, parts that agree."""

import pathlib
import re

import pytest
import yaml

FOLDER = pathlib.Path(__file__).parents[2] / 'launch' / 'clusters'
MANIFESTS = sorted(FOLDER.glob('*.yaml'))

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
