"""Compiles programs for chips that aren't here, by the chips' own compilers.

Neither needs a device, each a package: that for TPUs `libtpu`, of the version
that `jax[tpu]` asks for, that for NVIDIA's GPUs `triton`, whose `ptxas` is
asked for registers. They count what a program is made of; nothing runs.
"""

import functools
import glob
import importlib.util
import os
import pathlib
import re
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.experimental import topologies
from jax.interpreters import mlir
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxlib.mlir import ir
from jaxlib.triton import dialect

from glue_jax.kernels import lowering

# The smallest slice of a TPU by its name; compute capability of a GPU.
TPUS = {'v4': '2x2x1', 'v5e': '2x2', 'v5p': '2x2x1', 'v6e': '2x2'}
GPUS = {'sm_80': 80, 'sm_90': 90, 'sm_100': 100}
CHIPS = (*TPUS, *GPUS)
_PACKAGES = {'libtpu': "pip install 'jax[tpu]'", 'triton': 'pip install triton'}
_TRITON_CALL = '__gpu$xla.gpu.triton'
Shapes = Sequence[jax.ShapeDtypeStruct]


def missing(chip: str) -> str | None:
  """What to install for a chip's compiler; None where it is there."""
  package = 'libtpu' if chip in TPUS else 'triton'
  found = importlib.util.find_spec(package)
  return None if found else f'{chip} needs {package}: {_PACKAGES[package]}'


def compile_for(chip: str, fn: Callable, args: Shapes) -> dict[str, Any]:
  """Compiles a function with Pallas kernels.

  Args:
    chip: one of `CHIPS`, whose compiler is there.
    fn: a function of arrays, whose kernels are of the chip's platform.
    args: shapes and types of its arguments.

  Returns:
    of a TPU 'bundles', what its kernels issue in one step of their grids, one
    bundle a cycle at best; of a GPU the most 'registers' of a thread, bytes of
    all 'spills' and the most 'shared' memory in bytes.

  Raises:
    Exception: whatever the compiler finds.
  """
  if chip in TPUS:
    return {'bundles': sum(_bundles(chip, fn, args))}
  kernels = [_ptxas(chip, text, how) for text, how in _triton_code(fn, args)]
  return {
    'registers': max(kernel['registers'] for kernel in kernels),
    'spills': sum(kernel['spills'] for kernel in kernels),
    'shared': max(kernel['shared'] for kernel in kernels),
  }


def _bundles(chip, fn, args):
  """Of each kernel: bundles of its loop over the grid."""
  folder = pathlib.Path(_dumps().name)
  for path in folder.iterdir():
    path.unlink()
  topology = topologies.get_topology_desc(
    topology_name=f'{chip}:{TPUS[chip]}', platform='tpu'
  )
  mesh = Mesh([topology.devices[0]], ('device',))
  whole = NamedSharding(mesh, PartitionSpec())
  args = [jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=whole) for a in args]
  lowered = jax.jit(fn).trace(*args).lower(lowering_platforms=('tpu',))
  program = lowered.compile().as_text()
  names = re.findall(r'%([\w.-]+) = [^\n]*"tpu_custom_call"', program)
  for name in names:
    (path,) = (
      path
      for path in folder.glob(f'*-{glob.escape(name)}-*-final_bundles.txt')
      if 'analysis' not in path.name
    )
    loop = re.split(r'\bLB: ', path.read_text(), maxsplit=1)[-1]
    yield loop.split('loop exit test')[0].count(': > {')


@functools.cache
def _dumps() -> tempfile.TemporaryDirectory:
  """Where the TPU's compiler leaves what it makes, in this process."""
  import libtpu

  folder = tempfile.TemporaryDirectory()
  given = os.environ.get('LIBTPU_INIT_ARGS', '')
  dump = f'--xla_jf_dump_to={folder.name} --xla_jf_dump_llo_text=true'
  # Read when the library is loaded, once.
  os.environ |= {
    'LIBTPU_INIT_ARGS': f'{given} {dump}',
    'TPU_LIBRARY_PATH': libtpu.get_library_path(),
    'TPU_SKIP_MDS_QUERY': '1',
    'TPU_WORKER_HOSTNAMES': 'localhost',
    # No device is taken, so processes needn't wait for each other.
    'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
  }
  return folder


def _triton_code(fn, args):
  """(Triton IR, {warps, stages}) of each kernel."""
  text = lowering.lower(fn, 'gpu', args).mlir_module()
  context = mlir.make_ir_context()
  dialect.register_dialect(context)
  with context:
    module = ir.Module.parse(text)  # its operations live as long as it
    for call in _calls(module.operation):
      config = ir.DictAttr(call.attributes['mhlo.backend_config'])
      how = {
        name: ir.IntegerAttr(config[name]).value
        for name in ('num_warps', 'num_stages')
      }
      code = ir.Module.parse(ir.StringAttr(config['ir']).value_bytes)
      yield code.operation.get_asm(enable_debug_info=False), how


def _calls(operation):
  """The calls of kernels anywhere in an operation."""
  for region in operation.regions:
    for block in region:
      for inner in block:
        inner = inner.operation
        target = 'call_target_name'
        if target in inner.attributes and _TRITON_CALL in str(
          inner.attributes[target]
        ):
          yield inner
        yield from _calls(inner)


def _ptxas(chip, text, how):
  """Registers, spills and shared memory of one kernel."""
  import triton
  from triton.backends.compiler import GPUTarget
  from triton.backends.nvidia.compiler import get_ptxas

  with tempfile.TemporaryDirectory() as folder:
    source = pathlib.Path(folder) / 'kernel.ttir'
    source.write_text(text)
    kernel = triton.compile(
      str(source), target=GPUTarget('cuda', GPUS[chip], 32), options=how
    )
    code = pathlib.Path(folder) / 'kernel.ptx'
    code.write_text(kernel.asm['ptx'])
    tool = get_ptxas(GPUS[chip]).path
    target = re.search(r'^\.target (\w+)', kernel.asm['ptx'], re.M)[1]
    said = subprocess.run(
      [tool, '-v', f'--gpu-name={target}', code, '-o', source],
      capture_output=True,
      text=True,
      check=True,
    ).stderr
  return {
    'registers': int(re.search(r'Used (\d+) registers', said)[1]),
    'spills': sum(map(int, re.findall(r'(\d+) bytes spill stores', said))),
    'shared': kernel.metadata.shared,
  }
