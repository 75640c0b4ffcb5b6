"""Programs that run once: compiled without the compiler's optimizations."""

import jax

QUICK = {
  'xla_backend_optimization_level': 0,
  'xla_llvm_disable_expensive_passes': True,
}


def jit(fn, **kwargs):
  """`jax.jit` without the compiler's optimizations."""
  return jax.jit(fn, compiler_options=QUICK, **kwargs)
