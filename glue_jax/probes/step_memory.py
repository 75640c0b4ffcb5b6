"""What a training step of a config would hold in memory, without running it."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from glue_jax import config as config_lib
from glue_jax import tree
from glue_jax.devices import cpu, sharding
from glue_jax.method import Host
from glue_jax.training import build, session, train
from glue_jax.training.schema import Schedule
from glue_jax.training.state import TrainState
from glue_jax.training.step import make_step


def of_step(config: Any) -> dict[str, int]:
  """Compiles the first step of a run and reads the compiler's buffers.

  Args:
    config: completed config without stages; its first seed is taken.

  Returns:
    Bytes: 'parameters' and 'trained' of the trees, 'optimizer' of its state,
    'temporary' of the step's buffers, and 'peak': arguments, temporary and
    results that don't take an argument's place.

  Raises:
    ValueError: whatever part of the config doesn't fit; see `build.build`.
  """
  state, step = first_step(config)
  found = step.lower().compile().memory_analysis()
  return {
    'parameters': tree.nbytes(state.all_params()),
    'trained': tree.nbytes(state.params),
    'optimizer': sum(x.nbytes for x in jax.tree.leaves(state.opt_state)),
    'temporary': found.temp_size_in_bytes,
    'peak': found.argument_size_in_bytes
    + found.output_size_in_bytes
    - found.alias_size_in_bytes
    + found.temp_size_in_bytes,
  }


def first_step(config: Any) -> tuple[TrainState, jax.stages.Traced]:
  """Returns the state before the first step of a run, and that step's program.

  Args:
    config: completed config without stages; its first seed is taken.

  Raises:
    ValueError: whatever part of the config doesn't fit; see `build.build`.
  """
  schedule = Schedule(**config_lib.bind(Schedule, config.train, 'train'))
  seed = config.seeds[0]
  parts = build.build(config, seed, total_steps=schedule.total_steps)
  data, key = parts.bundle.train, jax.random.key(seed)
  if data is None:
    raise ValueError(f'task {parts.bundle.task.name} has no split to train on')
  with sharding.enter(parts.mesh):
    tx, _ = session.make_optimizer(config, parts)
    state = session.initial_state(parts, tx, key)
    host = Host(data, data.steps_per_epoch, parts.total_steps, state)
    for moment in ('before_epoch', 'before_step'):
      train.run_hooks(parts, moment, host)
    state = session.relabel(parts, host, tx)
    step = make_step(
      parts.apply.replace(variant=host.variant),
      parts.objective,
      parts.method,
      tx,
      accumulate=schedule.accumulate,
    )
    batch = sharding.put_batch(data.batch(0), parts.mesh)
    program = jax.jit(
      step, donate_argnums=0, compiler_options=cpu.compiler_options()
    )
    lean = state.replace(frozen={})
    return state, program.trace(lean, state.frozen, batch, key)


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
