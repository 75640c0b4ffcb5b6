"""What a training step of a config would hold in memory, without running it."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from glue_jax import tree
from glue_jax.devices import cpu, sharding
from glue_jax.training.begin import begin
from glue_jax.training.state import TrainState
from glue_jax.training.training import Training


def of_step(config: Any) -> dict[str, int]:
  """Compiles the first step of a run and reads the compiler's buffers.

  Args:
    config: completed config without stages; its first seed is taken.

  Returns:
    Bytes on one device: 'parameters' of the model, 'trained' of those that
    learn, 'optimizer' of all of its state (`TrainState.optimizer_state`),
    'others' of what methods carry besides (a teacher, counters), 'temporary' of
    the step's buffers, and 'peak': the whole state, whether this step reads it
    or not, the batch, temporary, and results that don't take an argument's
    place.

  Raises:
    ValueError: whatever part of the config doesn't fit; see `begin.build`.
  """
  state, batch, step = first_step(config)
  buffers = compiled(step.lower()).memory_analysis()
  return figures(state, batch, buffers)


def figures(
  state: TrainState, batch: Mapping[str, Any], buffers: Any
) -> dict[str, int]:
  """Returns the bytes of `of_step`.

  Args:
    state, batch: arrays, or shapes that say where they would be.
    buffers: of the compiled step.
  """
  parameters = on_one_device(state.all_params())
  optimizer = on_one_device(state.optimizer_state())
  whole = on_one_device(state)
  results = buffers.output_size_in_bytes - buffers.alias_size_in_bytes
  return {
    'parameters': parameters,
    'trained': on_one_device(state.params),
    'optimizer': optimizer,
    'others': whole - parameters - optimizer,
    'temporary': buffers.temp_size_in_bytes,
    'peak': whole + on_one_device(batch) + buffers.temp_size_in_bytes + results,
  }


def on_one_device(arrays: Any) -> int:
  """Returns the bytes that a tree of arrays takes on each of its devices."""
  return sum(
    math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize
    for x in jax.tree.leaves(arrays)
  )


def first_step(
  config: Any,
) -> tuple[TrainState, dict[str, jax.Array], jax.stages.Traced]:
  """Returns the state and batch of the first step, and that step's program.

  Args:
    config: completed config without stages; its first seed is taken.

  Raises:
    ValueError: whatever part of the config doesn't fit; see `begin.build`.
  """
  run = begin(config, config.seeds[0])
  rows = run.parts.train_data().batch(0)
  with sharding.enter(run.parts.mesh):
    run.prepare()
    batch = sharding.put_batch(rows, run.parts.mesh)
    return run.host.state, batch, run.traced(rows)


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
    optimizer_mb (all of its state), learning (elements that have a gradient).
  """
  run = run.afresh(step)
  examples = run.parts.train_data().examples
  with sharding.enter(run.parts.mesh):
    if step % run.host.steps_per_epoch:
      run.call('before_epoch')  # that of its epoch has not been called
    run.prepare()
    program = run.traced(examples.batch(np.arange(rows), length))
    buffers = compiled(program.lower()).memory_analysis()
  state = run.host.state
  return {
    'temporary_mb': buffers.temp_size_in_bytes / 1e6,
    'optimizer_mb': on_one_device(state.optimizer_state()) / 1e6,
    'learning': tree.size(state.params),
  }


def temporary(fn: Callable, *args: Any, **kwargs: Any) -> int:
  """Returns the temporary bytes of a compiled function that isn't run.

  Args:
    fn: to be compiled.
    *args: its arguments, abstract or not.
    **kwargs: of `jax.jit`.
  """
  program = compiled(jax.jit(fn, **kwargs).lower(*args))
  return program.memory_analysis().temp_size_in_bytes


def compiled(program: jax.stages.Lowered) -> jax.stages.Compiled:
  """Compiles a program that will not be run.

  On a CPU without LLVM's optimizations, which come after the assignment of
  memory.
  """
  options = cpu.compiler_options()
  if options is not None:
    options |= {
      'xla_backend_optimization_level': 0,
      'xla_llvm_disable_expensive_passes': True,
    }
  return program.compile(compiler_options=options)
