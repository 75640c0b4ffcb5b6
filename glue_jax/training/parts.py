"""All that a config names, built: what the loop and its helpers are given."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from jax.sharding import Mesh

from glue_jax.data.bundle import DataBundle
from glue_jax.method import Method, Objective
from glue_jax.plugs import Apply
from glue_jax.training.sections import Sections


@dataclasses.dataclass
class Parts:
  """All that a config names, built.

  Attributes:
    sections: the config, bound.
    mesh: devices.
    bundle: data, task and tokenizer.
    apply: the model with all plugs, without frozen trees.
    plain: the model without plugs, as it is exported.
    params: the whole tree, in place on the mesh; None if none was asked for.
    method, objective: composed method; objective.
    total_steps: of the run.
    rules: (pattern, mesh axes) of the parameters.
    names: of the plain model's leaves.
    trained: {methods: parameters that they train}, from `learning.sizes`.
    adapter: what was taken of `model.adapter`; {} without one.
    notes: what a person should know of the data and the weights.
    others: `Others.records` of what the methods read.
    origins: {place of a leaf: folder that it was read in}, see frozen.py.
    readers: each reads the model's leaves in the folder that they came from.
    opened: nothing was read there: a checkpoint replaces all parameters.
    extra: values that methods have calibrated, by name.
    programs: compiled predictions by variant.
  """

  sections: Sections
  mesh: Mesh
  bundle: DataBundle
  apply: Apply
  plain: Apply
  params: Any
  method: Method
  objective: Objective
  total_steps: int
  rules: tuple
  names: frozenset
  trained: dict[str, int] = dataclasses.field(default_factory=dict)
  adapter: dict[str, Any] = dataclasses.field(default_factory=dict)
  notes: tuple[str, ...] = ()
  others: dict[str, Any] = dataclasses.field(default_factory=dict)
  origins: dict[str, str] = dataclasses.field(default_factory=dict)
  readers: tuple[Callable[[], Mapping[str, Any]], ...] = ()
  opened: bool = False
  extra: dict[str, Any] = dataclasses.field(default_factory=dict)
  programs: dict = dataclasses.field(default_factory=dict)

  def train_data(self) -> Any:
    """Returns the training batches.

    Raises:
      ValueError: there are none.
    """
    if self.bundle.train is None:
      raise ValueError(f'task {self.bundle.task.name} has no split to train on')
    return self.bundle.train
