"""Several hosts as one: start-up, and where compiled programs are kept."""

import os
import pathlib
from typing import Any

import jax

KINDS = ('off', 'auto', 'tpu', 'slurm', 'address')


def initialize(
  kind: str,
  coordinator: str | None = None,
  num_processes: int | None = None,
  process_id: int | None = None,
) -> None:
  """Joins this process to the others.

  Args:
    kind: 'off' for one process; 'auto' where the cluster tells each process
      its place (TPU pods, SLURM, Kubernetes), 'tpu' and 'slurm' to insist on
      one of them; 'address' to say it.
    coordinator: host:port of process 0.
    num_processes, process_id: how many, and which this is.

  Raises:
    ValueError: arguments that don't go with `kind`.
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
  if kind in ('auto', 'tpu'):
    jax.distributed.initialize()
    if kind == 'tpu' and jax.devices()[0].platform != 'tpu':
      raise ValueError(
        f'--distributed=tpu, but the devices are {jax.devices()[0].platform}'
      )
  elif kind == 'slurm':
    jax.distributed.initialize(cluster_detection_method='slurm')
  elif kind == 'address':
    jax.distributed.initialize(coordinator, num_processes, process_id)


def compilation_cache(folder: str) -> None:
  """Keeps compiled programs in a folder for the next start; '' for none."""
  if folder:
    path = pathlib.Path(os.path.expanduser(folder))
    path.mkdir(parents=True, exist_ok=True)
    jax.config.update('jax_compilation_cache_dir', str(path))
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)


def own_messages(record: Any) -> bool:
  """Says whether to show a log record: our own, or a warning of any library.

  The checkpoint library reports every file it touches.
  """
  return record.levelno >= 30 or 'glue_jax' in record.pathname.split(os.sep)


def is_first() -> bool:
  """Says whether this process prints."""
  return jax.process_index() == 0
