import subprocess
import sys

import jax
import numpy as np

from glue_jax.devices import cpu
from tests.conftest import ROOT


def test_compiler_takes_the_options():
  options = cpu.compiler_options()
  assert options == cpu.OPTIONS
  fn = jax.jit(lambda x: (x @ x).sum(), compiler_options=options)
  assert float(fn(np.ones((8, 8), np.float32))) == 512


def test_an_unknown_option_is_left_out(monkeypatch):
  monkeypatch.setattr(cpu, 'OPTIONS', {'xla_cpu_no_such_thing': 1})
  assert cpu.compiler_options() == {}


def test_other_devices_get_none(monkeypatch):
  monkeypatch.setattr(jax, 'default_backend', lambda: 'tpu')
  assert cpu.compiler_options() is None


PROGRAM = """
import resource, sys
from glue_jax.devices import cpu
kept = cpu.keep_memory() if sys.argv[1] == 'keep' else None
import jax, jax.numpy as jnp
fn = jax.jit(lambda x: x[::-1] + 1)
x = jnp.ones((3000, 3000))
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
rounds = []
for _ in range(8):
  before = faults()
  for _ in range(10):
    fn(x).block_until_ready()
  rounds.append(faults() - before)
print(kept, min(rounds))
"""


def faults(mode):
  out = subprocess.run(
    [sys.executable, '-c', PROGRAM, mode],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  ).stdout.split()
  return out[0], int(out[1])


def test_memory_is_kept():
  # On a busy machine the first rounds find their block in use: the least of 8.
  kept, count = faults('keep')
  assert kept == str(sys.platform.startswith('linux'))
  assert count < 2000
