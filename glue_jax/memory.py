"""What a training step of a config would hold in memory, without running it."""

from typing import Any

import jax

from glue_jax import build, cpu, session, sharding, train, tree
from glue_jax import config as config_lib
from glue_jax.method import Host
from glue_jax.schema import Schedule
from glue_jax.state import TrainState
from glue_jax.step import make_step


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
