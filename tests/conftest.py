"""What all tests share: the CPU, a cache of compiled programs, tiny runs."""

import gc
import importlib.metadata
import os
import pathlib
import subprocess
import sys
import tempfile
from unittest import mock

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# Workers of one test run, and child processes, share compiled programs.
os.environ.setdefault(
  'JAX_COMPILATION_CACHE_DIR',
  str(pathlib.Path(tempfile.gettempdir()) / f'glue_jax_tests_{os.getuid()}'),
)
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.01')
# Compiles small programs in a third of the time; jaxlib 0.11 knows the first no
# more. A program in one part is a fifth cheaper to compile than in many.
if importlib.metadata.version('jaxlib') < '0.11':
  os.environ['XLA_FLAGS'] = ' '.join(
    [
      os.environ.get('XLA_FLAGS', ''),
      '--xla_cpu_use_fusion_emitters=false',
      '--xla_cpu_parallel_codegen_split_count=1',
    ]
  )

# Child processes compile as tests/quick.py does.
os.environ['JAX_DISABLE_MOST_OPTIMIZATIONS'] = '1'

import pytest

from tests.quick import QUICK as QUICK
from tests.quick import jit as jit

# A full collection walks all that JAX keeps of every program: at the usual
# rate a twentieth of the time.
gc.set_threshold(20_000, 20, 20)

ROOT = pathlib.Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / 'shared'


@pytest.fixture(scope='module', autouse=True)
def quick_compiler(request):
  """Compiles quickly; modules that compute for long say `COMPUTES = True`."""
  import jax

  computes = getattr(request.module, 'COMPUTES', False)
  jax.config.update('jax_disable_most_optimizations', not computes)
  yield
  jax.config.update('jax_disable_most_optimizations', False)


@pytest.fixture(scope='module', autouse=True)
def quick_figures(request):
  """Draws figures but doesn't render them, a tenth of the time of a tiny run.

  Modules that look at the pictures say `RENDERS = True`; commands that run in
  processes of their own render in any case.
  """
  if getattr(request.module, 'RENDERS', False):
    yield
    return
  from glue_jax.reporting import files, plots

  def save(figure, png, title, note=''):
    del figure, title, note
    with files.whole(png) as part:
      part.write_bytes(b'not rendered')

  with mock.patch.object(plots, 'save_figure', save):
    yield


def on_devices(devices):
  """The environment of a child process with so many CPU devices.

  A device that waits for the others holds a thread. XLA's pool has a thread a
  device; with so few, all may wait in one collective of a program while what
  leads to another stands in the queue. NPROC sets the size of the pool.
  """
  flags = os.environ.get('XLA_FLAGS', '')
  flags += f' --xla_force_host_platform_device_count={devices}'
  threads = str(16 * devices)  # 4 a device were too few once
  return dict(os.environ, XLA_FLAGS=flags, JAX_PLATFORMS='cpu', NPROC=threads)


def run_on_devices(script, devices=8):
  """What a script prints in a process of its own with so many CPU devices."""
  done = subprocess.run(
    [sys.executable, '-c', script],
    cwd=ROOT,
    env=on_devices(devices),
    capture_output=True,
    text=True,
    timeout=500,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  return done.stdout


def tiny_config(**changes):
  """A run of seconds: 1 layer of width 16 on a little of mini-acceptability.

  Args:
    **changes: merged into the config, section by section.
  """
  from glue_jax.config import config

  base = dict(
    task=dict(name='mini_acceptability'),
    data=dict(
      max_length=16,
      buckets=(16,),
      batch_size=16,
      eval_batch_size=32,
      train_limit=64,
      eval_limit=32,
    ),
    model=dict(
      name='bert',
      preset='tiny',
      num_layers=2,
      hidden_size=16,
      intermediate_size=32,
      max_positions=16,
    ),
    optimizer=dict(lr=1e-2),
    train=dict(epochs=2, log_every=2),
  )
  return config.complete(config.override(base, changes))


@pytest.fixture(scope='session')
def shared():
  """The folder of real data and golden vectors, where it is present."""
  if not SHARED.is_dir():
    pytest.skip('needs the folder ../shared, which is not part of the project')
  return SHARED
