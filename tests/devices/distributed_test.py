"""Each process takes the GPUs that are its own, or says why it can't."""

import threading
import time

import jax
import pytest
from jax._src import distributed as jax_distributed
from jax._src import xla_bridge

from glue_jax.devices import distributed

EIGHT = '0,1,2,3,4,5,6,7'
# What srun sets for the only process of a node.
STEP = {
  'SLURM_JOB_ID': '7',
  'SLURM_STEP_NODELIST': 'localhost',
  'SLURM_STEP_NUM_NODES': '1',
  'SLURM_NTASKS': '1',
  'SLURM_PROCID': '0',
  'SLURM_LOCALID': '0',
}


def step(rank, tasks, nodes=1, node=0, **others):
  """Variables of process `rank` of a node of a step of several."""
  return STEP | {
    'SLURM_STEP_TASKS_PER_NODE': tasks,
    'SLURM_STEP_NUM_NODES': str(nodes),
    'SLURM_NODEID': str(node),
    'SLURM_LOCALID': str(rank),
    **others,
  }


class NoNetwork:
  """Stands in for JAX's service and its client."""

  def connect(self):
    pass


@pytest.fixture
def join(monkeypatch):
  """join(kind, variables, ...) -> the GPUs that JAX is then told to use."""
  state = jax_distributed.State()
  monkeypatch.setattr(jax.distributed, 'initialize', state.initialize)
  runtime = 'get_distributed_runtime_'
  for name in ('service', 'client'):
    monkeypatch.setattr(
      jax_distributed._jax, runtime + name, lambda *_, **__: NoNetwork()
    )
  monkeypatch.setattr(state, 'initialize_preemption_sync_manager', lambda: None)
  for name in ('JAX_LOCAL_DEVICE_IDS', 'KUBERNETES_SERVICE_HOST'):
    monkeypatch.delenv(name, raising=False)

  def call(kind, variables, *address):
    for name, value in variables.items():
      monkeypatch.setenv(name, value)
    distributed.initialize(kind, *address)
    return xla_bridge.CUDA_VISIBLE_DEVICES.value

  yield call
  for gpus in ('cuda', 'rocm'):
    jax.config.update(f'jax_{gpus}_visible_devices', 'all')


@pytest.mark.parametrize('kind', ['slurm', 'auto'])
def test_one_process_a_node_takes_all_its_gpus(join, kind):
  assert join(kind, STEP | {'CUDA_VISIBLE_DEVICES': EIGHT}) == 'all'


def test_one_process_a_gpu_takes_its_own(join):
  variables = step(
    5, '8(x2)', 2, 1, SLURM_NTASKS='16', SLURM_PROCID='13',
    CUDA_VISIBLE_DEVICES=EIGHT, SLURM_GPUS_ON_NODE='8',
  )  # fmt: skip
  assert join('slurm', variables) == '5'


def test_an_address_inside_slurm_takes_all_gpus(join):
  variables = STEP | {'CUDA_VISIBLE_DEVICES': EIGHT}
  assert join('address', variables, 'localhost:1', 2, 1) == 'all'


def test_jaxs_own_variable_decides(join):
  variables = STEP | {'CUDA_VISIBLE_DEVICES': EIGHT}
  assert join('slurm', variables | {'JAX_LOCAL_DEVICE_IDS': '2,3'}) == '2,3'


SHARES = {
  'unequal nodes': (
    step(1, '2(x3),4', 4, 3, CUDA_VISIBLE_DEVICES='0,1,2,3'),
    [1],
  ),
  'two GPUs each': (step(1, '2', CUDA_VISIBLE_DEVICES='4,5,6,7'), [2, 3]),
  'no task counts': (
    {**STEP, 'SLURM_NTASKS': '4', 'SLURM_STEP_NUM_NODES': '2'}
    | {'SLURM_LOCALID': '1', 'CUDA_VISIBLE_DEVICES': '0,1'},
    [1],
  ),
  '--gpus-per-task=1': (
    step(5, '8', CUDA_VISIBLE_DEVICES='0', SLURM_GPUS_ON_NODE='8'),
    [],
  ),
  '--gpus-per-task=2, AMD': (
    step(3, '4', ROCR_VISIBLE_DEVICES='6,7', SLURM_GPUS_ON_NODE='8'),
    [],
  ),
  'a MIG device each': (
    step(1, '7', CUDA_VISIBLE_DEVICES='MIG-1a', SLURM_GPUS_ON_NODE='7'),
    [],
  ),
  'GPUs that nothing counts': (step(3, '4'), [3]),
  'no GPUs': (step(3, '4', CUDA_VISIBLE_DEVICES=''), []),
  'a batch script without srun': (
    {'SLURM_NTASKS': '8', 'SLURM_LOCALID': '0', 'CUDA_VISIBLE_DEVICES': EIGHT},
    [],
  ),
  'Open MPI, one process': (
    {'OMPI_COMM_WORLD_LOCAL_SIZE': '1', 'OMPI_COMM_WORLD_LOCAL_RANK': '0'},
    [],
  ),
  'Open MPI in a SLURM job': (
    step(0, '1', CUDA_VISIBLE_DEVICES='0,1')
    | {'OMPI_COMM_WORLD_LOCAL_SIZE': '2', 'OMPI_COMM_WORLD_LOCAL_RANK': '1'},
    [1],
  ),
  'no launcher': ({'CUDA_VISIBLE_DEVICES': '0,1'}, []),
}


@pytest.mark.parametrize('case', SHARES)
def test_shares(case):
  variables, devices = SHARES[case]
  assert distributed.local_devices(variables) == devices


@pytest.mark.parametrize(
  ('variables', 'message'),
  [
    (step(1, '3', CUDA_VISIBLE_DEVICES=EIGHT), '3 processes .* see 8 GPUs'),
    # Eight processes on one GPU, which each would fill.
    (
      step(1, '8', CUDA_VISIBLE_DEVICES='0', SLURM_GPUS_ON_NODE='1'),
      '8 processes .* see 1 GPUs each, of 1',
    ),
    # --gpu-bind=closest: which of the near ones is whose, nothing says.
    (
      step(1, '8', CUDA_VISIBLE_DEVICES='0,1,2,3', SLURM_GPUS_ON_NODE='8'),
      'see 4 GPUs each, of 8.*--gpus-per-task',
    ),
    (step(0, '1', CUDA_VISIBLE_DEVICES='MIG-1a,MIG-2b'), 'found 2 MIG devices'),
  ],
)
def test_what_cannot_be_shared_is_refused(variables, message):
  with pytest.raises(ValueError, match=message):
    distributed.local_devices(variables)


def test_no_cluster_is_said_in_one_line(join):
  with pytest.raises(ValueError, match='found no SLURM_STEP_NODELIST.*srun'):
    join('slurm', {})
  with pytest.raises(ValueError, match='^--distributed=auto: .* no cluster'):
    join('auto', {})


def test_a_host_that_never_comes_is_named(monkeypatch, capfd):
  """Process 0 of 2 waits, says so, and ends."""
  ended, said = threading.Event(), []
  monkeypatch.setattr(distributed, 'PATIENCE', 0.6)
  monkeypatch.setattr(
    distributed.logging, 'info', lambda text, *args: said.append(text % args)
  )

  def leave(code):
    assert code == 2
    ended.set()
    time.sleep(0.1)  # until the block is left

  monkeypatch.setattr(distributed.os, '_exit', leave)

  def wait(*_, initialization_timeout, **__):
    assert initialization_timeout > 1
    assert ended.wait(10)

  monkeypatch.setattr(jax.distributed, 'initialize', wait)
  distributed.initialize('address', 'far:1', 2, 0, timeout=1)
  which = 'process 0 of 2 at far:1'
  assert said[0].startswith(f'{which} waits for the others')
  error = capfd.readouterr().err.splitlines()[0]
  assert error.startswith(f'error: {which}: the other processes have not come')
  assert '--start_timeout' in error


def test_waiting_is_over_when_all_have_come(monkeypatch):
  monkeypatch.setattr(distributed, 'PATIENCE', 0.01)
  said = []
  monkeypatch.setattr(
    distributed.logging, 'info', lambda text, *args: said.append(text % args)
  )
  monkeypatch.setattr(
    jax.distributed, 'initialize', lambda *_, **__: time.sleep(0.1)
  )
  for name, value in STEP.items():
    monkeypatch.setenv(name, value)
  distributed.initialize('slurm')
  assert said and said[0].startswith('process 0 of 1 on localhost waits')
  count = len(said)
  time.sleep(0.05)
  assert len(said) == count


def test_arguments_go_with_their_kind():
  with pytest.raises(ValueError, match="also needs .'num_processes', 'process"):
    distributed.initialize('address', 'localhost:1')
  with pytest.raises(ValueError, match='need --distributed=address'):
    distributed.initialize('auto', process_id=0)


@pytest.fixture
def cache_folder():
  """What JAX keeps programs in; as before after the test."""
  name = 'jax_compilation_cache_dir'
  before = getattr(jax.config, name)
  yield lambda: getattr(jax.config, name)
  jax.config.update(name, before)


def test_the_folder_of_compiled_programs(tmp_path, monkeypatch, cache_folder):
  monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', str(tmp_path / 'a'))
  distributed.compilation_cache(None)
  assert cache_folder() == str(tmp_path / 'a')
  distributed.compilation_cache(str(tmp_path / 'b'))
  assert cache_folder() == str(tmp_path / 'b')
  distributed.compilation_cache('')
  assert cache_folder() is None
  monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR')
  monkeypatch.setenv('HOME', str(tmp_path))
  distributed.compilation_cache(None)
  assert cache_folder() == str(tmp_path / '.cache/glue_jax/xla')


def test_a_cache_that_cannot_be_written_is_a_warning(
  tmp_path, cache_folder, caplog
):
  (tmp_path / 'file').write_text('')
  distributed.compilation_cache(str(tmp_path / 'file' / 'xla'))
  assert cache_folder() is None
  assert 'file/xla cannot be written (Not a directory)' in caplog.text
