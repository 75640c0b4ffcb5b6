"""What a training step of a config would hold in memory, without running it."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from glue_jax import tree
from glue_jax.devices import cpu, sharding
from glue_jax.training.begin import Training, begin
from glue_jax.training.state import TrainState


def of_step(config: Any) -> dict[str, int]:
  """Compiles the first step of a run and reads the compiler's buffers.

  Args:
    config: completed config without stages; its first seed is taken.

  Returns:
    Bytes: 'parameters' and 'trained' of the trees, 'optimizer' of its state,
    'temporary' of the step's buffers, and 'peak': arguments, temporary and
    results that don't take an argument's place.

  Raises:
    ValueError: whatever part of the config doesn't fit; see `begin.build`.
  """
  state, step = first_step(config)
  buffers = step.lower().compile().memory_analysis()
  return {
    'parameters': tree.nbytes(state.all_params()),
    'trained': tree.nbytes(state.params),
    'optimizer': sum(x.nbytes for x in jax.tree.leaves(state.opt_state)),
    'temporary': buffers.temp_size_in_bytes,
    'peak': buffers.argument_size_in_bytes
    + buffers.output_size_in_bytes
    - buffers.alias_size_in_bytes
    + buffers.temp_size_in_bytes,
  }


def first_step(config: Any) -> tuple[TrainState, jax.stages.Traced]:
  """Returns the state before the first step of a run, and that step's program.

  Args:
    config: completed config without stages; its first seed is taken.

  Raises:
    ValueError: whatever part of the config doesn't fit; see `begin.build`.
  """
  run = begin(config, config.seeds[0])
  rows = run.parts.train_data().batch(0)
  with sharding.enter(run.parts.mesh):
    run.prepare()
    return run.host.state, run.traced(rows)


def later_step(
  run: Training, step: int, rows: int, length: int
) -> dict[str, float]:
  """Compiles the program of a step of a run and returns its figures.

  Args:
    run: as `begin` returns it; nothing of it is run.
    step: 0-based.
    rows, length: of the batch; the data must have so many rows.

  Returns:
    temporary_mb (the compiler's scratch memory: activations and gradients),
    optimizer_mb, learning (elements that have a gradient).
  """
  run = run.afresh(step)
  examples = run.parts.train_data().examples
  with sharding.enter(run.parts.mesh):
    if step % run.host.steps_per_epoch:
      run.call('before_epoch')  # that of its epoch has not been called
    run.prepare()
    program = run.traced(examples.batch(np.arange(rows), length))
    buffers = program.lower().compile().memory_analysis()
  state = run.host.state
  moments = sum(x.nbytes for x in jax.tree.leaves(state.opt_state))
  return {
    'temporary_mb': buffers.temp_size_in_bytes / 1e6,
    'optimizer_mb': moments / 1e6,
    'learning': tree.size(state.params),
  }


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
