"""What the compiler says of a training step's memory, at a step of the run."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from glue_jax import build, cpu, session, sharding, tree
from glue_jax.method import Host
from glue_jax.step import make_step


def temporary(fn: Callable, *args: Any, **kwargs: Any) -> int:
  """Returns the temporary bytes of a compiled function that isn't run.

  On a CPU it is compiled without LLVM's optimizations, which come after the
  assignment of memory.

  Args:
    fn: to be compiled.
    *args: its arguments, abstract or not.
    **kwargs: of `jax.jit`.
  """
  options = cpu.compiler_options()
  if options is not None:
    options |= {
      'xla_backend_optimization_level': 0,
      'xla_llvm_disable_expensive_passes': True,
    }
  program = jax.jit(fn, **kwargs).lower(*args).compile(compiler_options=options)
  return program.memory_analysis().temp_size_in_bytes


class Steps:
  """A config's training steps; nothing is run.

  Attributes:
    parts: what the config built.
  """

  def __init__(self, config: Any, total: int):
    """Builds the parts.

    Args:
      config: completed; its data is read.
      total: steps of the run.
    """
    self.parts = build.build(config, 0, total_steps=lambda _: total)
    with sharding.enter(self.parts.mesh):
      self._tx, _ = session.make_optimizer(config, self.parts)

  def memory(self, step: int, rows: int, length: int) -> dict[str, float]:
    """Compiles the program of a step and returns its figures.

    Args:
      step: 0-based.
      rows, length: of the batch; the data must have so many rows.

    Returns:
      temporary_mb (the compiler's scratch memory: activations and gradients),
      optimizer_mb, learning (elements that have a gradient).
    """
    parts = self.parts
    per_epoch = parts.bundle.train.steps_per_epoch
    with sharding.enter(parts.mesh):
      state = session.initial_state(parts, self._tx, jax.random.key(0))
      host = Host(
        parts.bundle.train, per_epoch, parts.total_steps, state, step,
        step // per_epoch,
      )  # fmt: skip
      for moment in ('before_epoch', 'before_step'):
        for hook in parts.method.hooks:
          if getattr(hook, moment):
            getattr(hook, moment)(host)
      state = session.relabel(parts, host, self._tx)
      fn = make_step(
        parts.apply.replace(variant=host.variant),
        parts.objective,
        parts.method,
        self._tx,
      )
      examples = parts.bundle.train.examples
      batch = examples.batch(np.arange(rows), length)
      batch = sharding.put_batch(batch, parts.mesh)
      compiled = jax.jit(
        fn, donate_argnums=0, compiler_options=cpu.compiler_options()
      ).lower(state.replace(frozen={}), state.frozen, batch, jax.random.key(0))
      found = compiled.compile().memory_analysis()
    return {
      'temporary_mb': found.temp_size_in_bytes / 1e6,
      'optimizer_mb': sum(x.nbytes for x in jax.tree.leaves(state.opt_state))
      / 1e6,
      'learning': tree.size(state.params),
    }
