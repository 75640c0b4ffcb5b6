"""Several hosts as one: start-up, and where compiled programs are kept."""

import contextlib
import os
import pathlib
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from absl import logging

# Seconds between two messages of a process that waits for the others.
PATIENCE = 15
# Folder of compiled programs, where neither a flag nor a variable names one.
CACHE = '~/.cache/glue_jax/xla'


def initialize(
  kind: str,
  coordinator: str | None = None,
  num_processes: int | None = None,
  process_id: int | None = None,
  timeout: int = 300,
) -> None:
  """Joins this process to the others; each takes the GPUs that are its own.

  Says whom it waits for every 15 s, and ends the process with one line and
  status 2 where they haven't come when the time is over.

  Args:
    kind: 'off' for one process; 'auto' where the cluster tells each process
      its place (TPU pods, SLURM, Kubernetes), 'tpu' and 'slurm' to insist on
      one of them; 'address' to say it.
    coordinator: host:port of process 0.
    num_processes, process_id: how many, and which this is.
    timeout: seconds to wait for the others.

  Raises:
    ValueError: arguments that don't go with `kind`, no such cluster, or GPUs
      that can't be shared out; see `local_devices`.
  """
  given = {
    'coordinator': coordinator,
    'num_processes': num_processes,
    'process_id': process_id,
  }
  missing = [name for name, value in given.items() if value is None]
  if kind == 'address' and missing:
    raise ValueError(f'--distributed=address also needs {missing}')
  if kind != 'address' and len(missing) < len(given):
    raise ValueError(
      f'{sorted(given.keys() - set(missing))} need --distributed=address'
    )
  if kind == 'off':
    return
  if kind == 'slurm' and not _in_slurm_step(os.environ):
    raise ValueError(
      '--distributed=slurm: expected the variables of a SLURM step, found no '
      'SLURM_STEP_NODELIST; start the command with srun'
    )
  devices = local_devices(os.environ)
  if kind == 'address':
    which = f'process {process_id} of {num_processes} at {coordinator}'
  else:
    which = _place(os.environ)
  try:
    with _waiting(which, timeout):
      jax.distributed.initialize(
        coordinator,
        num_processes,
        process_id,
        devices,
        cluster_detection_method='slurm' if kind == 'slurm' else None,
        # Later than ours: at its own, JAX aborts with pages of addresses.
        initialization_timeout=timeout + 60,
      )
  except ValueError as error:
    # What JAX says of a machine that is in no cluster it knows.
    if 'should be defined' not in str(error):
      raise
    raise ValueError(
      f'--distributed={kind}: this machine is in no cluster that tells a '
      'process its place (TPU pod, SLURM step, Kubernetes job); use '
      '--distributed=address'
    ) from error
  if kind == 'tpu' and jax.devices()[0].platform != 'tpu':
    raise ValueError(
      f'--distributed=tpu, but the devices are {jax.devices()[0].platform}'
    )


@contextlib.contextmanager
def _waiting(which: str, timeout: int) -> Iterator[None]:
  """Speaks while the block waits; ends the process when the time is over.

  The block waits in compiled code that no exception reaches.
  """
  joined, started = threading.Event(), time.monotonic()

  def speak():
    passed = 0.0
    while not joined.wait(min(PATIENCE, timeout - passed)):
      passed = time.monotonic() - started
      if passed >= timeout:
        print(
          f'error: {which}: the other processes have not come in {timeout} s; '
          'see whether each of them has started and reaches that address, or '
          'give a longer --start_timeout',
          file=sys.stderr,
          flush=True,
        )
        os._exit(2)
      logging.info(
        '%s waits for the others, %d of %d s', which, passed, timeout
      )

  threading.Thread(target=speak, daemon=True).start()
  try:
    yield
  finally:
    joined.set()


def _place(environ) -> str:
  """Names this process as its cluster does."""
  if _in_slurm_step(environ):
    number, count = environ.get('SLURM_PROCID'), environ.get('SLURM_NTASKS')
    return f'process {number} of {count} on {environ["SLURM_STEP_NODELIST"]}'
  return 'this process of the cluster'


def local_devices(environ: Mapping[str, str]) -> list[int] | None:
  """Returns which of the GPUs that this process sees it is to use.

  Left to itself, JAX takes one GPU a process under SLURM and Open MPI, the one
  of the process's number on its node: a single process on a node of 8 uses one
  of them (https://github.com/jax-ml/jax/issues/16788), and where SLURM already
  gave each process its own, the number points past them
  (https://github.com/jax-ml/jax/issues/23452).

  Args:
    environ: variables of the process. `JAX_LOCAL_DEVICE_IDS` there decides by
      itself.

  Returns:
    Positions among the visible GPUs; [] for all of them, None where JAX's own
    variable decides.

  Raises:
    ValueError: the processes of this node can't share its GPUs evenly, or one
      process sees several MIG devices.
  """
  if environ.get('JAX_LOCAL_DEVICE_IDS'):
    return None
  names = _visible_gpus(environ)
  count, rank = _processes_on_node(environ)
  if names and len(names) > 1 and names[0].startswith('MIG-'):
    # CUDA enumerates the first and hides the others, MIG User Guide:
    # https://docs.nvidia.com/datacenter/tesla/mig-user-guide/
    raise ValueError(
      f'found {len(names)} MIG devices, of which a process uses one; start '
      'a process for each, which sees its own (SLURM: --gpu-bind=per_task:1)'
    )
  if count == 1:
    return []
  if names is None:  # nothing says how many there are: one each, as JAX does
    return [rank]
  seen, total = len(names), int(environ.get('SLURM_GPUS_ON_NODE', 0))
  if seen * count == total or seen == 0 or (seen == 1 and not total):
    return []  # the launcher gave each process its own
  if seen % count or total not in (0, seen):
    raise ValueError(
      f'{count} processes on this node see {seen} GPUs each, of '
      f'{total or seen}: expected that each sees its own (SLURM: '
      '--gpus-per-task) or all of a number that they can share evenly'
    )
  share = seen // count
  return list(range(rank * share, (rank + 1) * share))


def _visible_gpus(environ) -> list[str] | None:
  """Names or numbers of the GPUs a process sees; None where nothing says."""
  for variable in ('CUDA_VISIBLE_DEVICES', 'ROCR_VISIBLE_DEVICES'):
    if variable in environ:
      names = environ[variable].split(',')
      return [name for name in names if name not in ('', '-1', 'NoDevFiles')]
  return None


def _in_slurm_step(environ) -> bool:
  """Whether srun started this process (a batch script is not in a step)."""
  return 'SLURM_STEP_NODELIST' in environ and 'SLURM_LOCALID' in environ


def _processes_on_node(environ) -> tuple[int, int]:
  """(number of this job's processes on this node, which of them this is)."""
  if 'OMPI_COMM_WORLD_LOCAL_SIZE' in environ:
    rank = int(environ['OMPI_COMM_WORLD_LOCAL_RANK'])
    return int(environ['OMPI_COMM_WORLD_LOCAL_SIZE']), rank
  if not _in_slurm_step(environ):
    return 1, 0
  rank = int(environ['SLURM_LOCALID'])
  if 'SLURM_STEP_TASKS_PER_NODE' not in environ:
    nodes = int(environ.get('SLURM_STEP_NUM_NODES', 1))
    return int(environ['SLURM_NTASKS']) // nodes, rank
  counts: list[int] = []
  for part in environ['SLURM_STEP_TASKS_PER_NODE'].split(','):  # '2(x3),1'
    count, _, times = part.partition('(x')
    counts += [int(count)] * int(times.rstrip(')') or 1)
  return counts[int(environ.get('SLURM_NODEID', 0))], rank


def compilation_cache(folder: str | None) -> None:
  """Keeps compiled programs in a folder for the next start.

  A folder that can't be written is done without, with a warning.

  Args:
    folder: '' for none; None for that of JAX's own variable,
      `JAX_COMPILATION_CACHE_DIR`, or else `CACHE`.
  """
  if folder is None:
    folder = os.environ.get('JAX_COMPILATION_CACHE_DIR', CACHE)
  if not folder:
    jax.config.update('jax_compilation_cache_dir', None)
    return
  path = pathlib.Path(os.path.expanduser(folder))
  try:
    path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path):
      pass
  except OSError as error:
    logging.warning(
      'compiled programs are not kept, %s cannot be written (%s); name '
      'another folder with --compilation_cache, or none with '
      '--compilation_cache=',
      path,
      error.strerror,
    )
    jax.config.update('jax_compilation_cache_dir', None)
    return
  jax.config.update('jax_compilation_cache_dir', str(path))
  if 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS' not in os.environ:
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)


def own_messages(record: Any) -> bool:
  """Says whether to show a log record: our own, or a warning of any library.

  The checkpoint library reports every file it touches.
  """
  return record.levelno >= 30 or 'glue_jax' in record.pathname.split(os.sep)


def is_first() -> bool:
  """Says whether this process prints."""
  return jax.process_index() == 0
