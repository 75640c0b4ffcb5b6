"""Lowers a function for a TPU or a GPU on a machine that has neither.

For tests and benchmarks: whether a kernel compiles for its platform is seen
without the platform.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import export
from jax.sharding import AbstractDevice, AbstractMesh

# The name of a platform in `jax.export`, by the backend's.
PLATFORMS = {'tpu': 'tpu', 'gpu': 'cuda'}
_TRITON = export.DisabledSafetyCheck.custom_call('__gpu$xla.gpu.triton')


def lower(
  fn: Callable, platform: str, args: Sequence[jax.ShapeDtypeStruct]
) -> export.Exported:
  """Compiles `fn` down to the platform's own form of its Pallas kernels.

  A kernel that Mosaic or Triton cannot express fails here as it would there.
  What follows on the device (registers, the real memory) isn't checked.

  Args:
    fn: a function of arrays.
    platform: 'tpu' or 'gpu'.
    args: shapes and types of its arguments.

  Returns:
    The exported program.

  Raises:
    ValueError: an unknown platform.
    Exception: whatever the lowering finds.
  """
  if platform not in PLATFORMS:
    raise ValueError(
      f'platform={platform!r}; expected one of {sorted(PLATFORMS)}'
    )
  with _device(platform):
    return export.export(
      jax.jit(fn), platforms=[PLATFORMS[platform]], disabled_checks=[_TRITON]
    )(*args)


def _device(platform: str) -> Any:
  """Names the GPU, which Triton's lowering asks for."""
  if platform == 'tpu':
    return contextlib.nullcontext()
  device = AbstractDevice(
    device_kind='NVIDIA H100 80GB HBM3', num_cores=132, platform='cuda'
  )
  mesh = AbstractMesh((1,), ('device',), abstract_device=device)
  return jax.sharding.use_abstract_mesh(mesh)
