"""What a config would need on a mesh of devices, without any of its values.

Model, methods, optimizer and the sharded training step are made of shapes
alone (`jax.eval_shape`) and data of the right form (data/made_up.py), so that a
laptop plans the run of a model that it could not hold.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from glue_jax import tree
from glue_jax.data import made_up, pipeline
from glue_jax.data.tasks import by_name
from glue_jax.data.tasks.task import Task
from glue_jax.devices import sharding
from glue_jax.layers.spec import EncoderConfig
from glue_jax.models import model as models
from glue_jax.probes import collectives, step_memory
from glue_jax.training import begin, schema
from glue_jax.training.sections import Network
from glue_jax.training.training import Training
from glue_jax.weights import source


@dataclasses.dataclass(frozen=True)
class Plan:
  """What the first training step of a config takes.

  Attributes:
    parameters, trained: elements of the whole model, and of what learns.
    memory: bytes on one device, see `step_memory.of_step`.
    sent: bytes that one device receives in a step by collective, see
      `collectives.sent`.
  """

  parameters: int
  trained: int
  memory: Mapping[str, int]
  sent: Mapping[str, int]


def of_config(config: Any) -> Plan:
  """Compiles the sharded step of a config for the devices at hand.

  The figures are those of this backend's compiler: a CPU keeps the attention
  scores that a kernel of an accelerator would not.

  Args:
    config: completed config without stages; its data isn't read, and of its
      weights only the sizes.

  Raises:
    ValueError: whatever part of the config doesn't fit; see `begin.build`.
  """
  run = abstract(config)
  with sharding.enter(run.parts.mesh):
    rows = run.parts.train_data().batch(0)
    batch = sharding.put_batch(rows, run.parts.mesh)
    program = step_memory.compiled(run.traced(rows).lower())
  state = run.host.state
  return Plan(
    parameters=tree.size(state.all_params()),
    trained=tree.size(state.params),
    memory=step_memory.figures(state, batch, program.memory_analysis()),
    sent=collectives.sent(program.as_text()),
  )


def abstract(config: Any) -> Training:
  """Returns a run before its first step, of shapes alone.

  Args:
    config: see `of_config`.
  """
  sections = schema.bind(config)
  task = by_name.make(**sections.task)
  data = sections.data
  sizes = _sizes(sections.model, task)
  bundle = made_up.bundle(
    task,
    sizes.vocab_size,
    sizes.pad_id or 0,
    data.get('batch_size', 32),
    data.get('max_length') or task.max_length or pipeline.MAX_LENGTH,
    segments=bool(data.get('segments')),
  )
  seed = config.seeds[0]
  return begin.begin(config, seed, load=False, bundle=bundle, abstract=True)


def _sizes(network: Network, task: Task) -> EncoderConfig:
  """The sizes of the model, of which the vocabulary is wanted."""
  given = dict(network.sizes)
  if network.weights:
    given = source.read_sizes(network.weights, network.grow_positions) | given
  outputs = by_name.num_outputs(task)
  kind = network.head or task.kind
  return models.build(kind=kind, num_outputs=outputs, **given).config
