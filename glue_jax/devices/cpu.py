"""What makes compiled programs fast on a CPU: compiler options and memory."""

import ctypes
import functools
import sys
from typing import Any

import jax
from absl import logging

# Found by measuring the MiniLM-L6 training step with jaxlib 0.10.2 (Xeon,
# AVX-512): by default matrix products go to YNNPACK, which is a quarter slower
# than Eigen at these shapes; only its reductions are the faster ones.
OPTIONS: dict[str, Any] = {
  'xla_cpu_experimental_ynn_fusion_type': 'LIBRARY_FUSION_TYPE_REDUCE',
  'xla_cpu_prefer_vector_width': 512,
}

# Numbers of the parameters of mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8


def compiler_options() -> dict[str, Any] | None:
  """Returns `compiler_options` for `jax.jit`; None where none apply.

  An option that this version of jaxlib doesn't know is left out, with a
  warning.
  """
  if jax.default_backend() != 'cpu':
    return None
  return {name: value for name, value in OPTIONS.items() if _known(name, value)}


@functools.cache
def _known(name: str, value: str | int) -> bool:
  try:
    jax.jit(lambda x: x, compiler_options={name: value}).lower(0).compile()
  except jax.errors.JaxRuntimeError as error:
    logging.warning('compiler option %s is left out: %s', name, error)
    return False
  return True


def keep_memory() -> bool:
  """Makes malloc reuse large blocks in place of returning them to the kernel.

  A compiled step takes its scratch memory (hundreds of MB) anew on each call;
  by default the kernel maps and clears every page of it again, a tenth of the
  step. Call it before the first array is made.

  Returns:
    whether the C library took all settings; False where it isn't glibc.
  """
  if not sys.platform.startswith('linux'):
    return False
  libc = ctypes.CDLL(None)
  if not hasattr(libc, 'mallopt'):
    return False
  settings = {
    _MMAP_MAX: 0,
    _TRIM_THRESHOLD: -1,
    _TOP_PAD: 64 * 2**20,
    _ARENA_MAX: 1,
  }
  results = [libc.mallopt(*pair) for pair in settings.items()]
  return all(results)
