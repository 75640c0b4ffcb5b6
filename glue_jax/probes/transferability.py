"""How alike a target task is to the source of a prompt, by that prompt."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax import tree
from glue_jax.config import config as config_lib
from glue_jax.data.batching import TrainBatches
from glue_jax.devices import cpu, sharding
from glue_jax.inference import open_run
from glue_jax.inference.run import Run
from glue_jax.objectives import transferability
from glue_jax.training import build_data, inputs, schema

EXAMPLES = 100


def of_sources(
  config: Any,
  workdirs: Sequence[str | os.PathLike],
  examples: int = EXAMPLES,
) -> list[tuple[str, float]]:
  """Ranks finished prompts of source tasks for a target task.

  Args:
    config: of a run of the target task; its data and task are read.
    workdirs: finished runs of the sources with the method `prefix`.
    examples: training examples of either task at most, in the order of their
      first epoch.

  Returns:
    (workdir, similarity), the most similar first; see
    objectives/transferability.py.

  Raises:
    ValueError: no source, one that isn't a prompt, a config with stages, or a
      task that has no training split.
  """
  config = config_lib.complete(config)
  if config.stages or not workdirs or examples < 1:
    raise ValueError(
      'expected the config of one stage, one or more finished sources and one '
      'or more examples'
    )
  found = [(str(w), _similarity(config, w, examples)) for w in workdirs]
  return sorted(found, key=lambda pair: -pair[1])


def _similarity(config, workdir, examples) -> float:
  run = open_run.open_run(workdir)
  leaves = tree.flatten(run.params)
  if not any('/prefix_' in name for name in leaves):
    raise ValueError(
      f"{workdir} has no prompts; expected a run with methods=(('prefix', "
      '...),)'
    )
  own = schema.bind(run.config, 1)
  tokenizer = run.bundle.tokenizer
  embeddings = []
  for sections, task in (
    (own, run.bundle.task),
    (bound := schema.bind(config, 1), inputs.current_task(bound.task, None)),
  ):
    bundle = build_data.make_data(
      sections, task, run.parts.mesh, 0, tokenizer=tokenizer, eval_splits=()
    )
    if bundle.train is None:
      raise ValueError(f'task {task.name} has no split to train on')
    embeddings.append(_embedding(run, bundle.train, examples))
  one, other = (jnp.asarray(embedding) for embedding in embeddings)
  return float(transferability.cosine(one, other))


def _embedding(run: Run, data: TrainBatches, examples: int) -> np.ndarray:
  """E of a task: (D,), over its first training examples."""
  # All positions of the last layer are read, whatever the run needs of it.
  plain = run.parts.apply
  whole = dataclasses.replace(plain.model.config, stack='plain')
  apply = plain.replace(model=plain.model.clone(config=whole))

  def features(params, batch):
    hidden = apply(params, batch)['last_hidden']
    mask = batch['attention_mask']
    hidden = hidden.reshape(*mask.shape, hidden.shape[-1])
    return transferability.features(hidden, mask)

  program = jax.jit(features, compiler_options=cpu.compiler_options())
  rows: list[np.ndarray] = []
  with sharding.enter(run.parts.mesh):
    params = sharding.put_state(run.host.state, run.parts.rules, run.parts.mesh)
    params = params.all_params()
    for step in range(data.steps_per_epoch):
      batch = data.batch(step)
      put = sharding.put_batch(batch, run.parts.mesh)
      found = sharding.gather({'x': program(params, put)}, run.parts.mesh)['x']
      rows += [*np.asarray(found)[batch['weight'] > 0]]
      if len(rows) >= examples:
        break
  flat = [row.reshape(-1, row.shape[-1]).mean(0) for row in rows[:examples]]
  return np.mean(flat, axis=0)
