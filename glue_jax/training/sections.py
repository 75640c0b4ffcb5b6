"""A config as the records that building and training receive."""

import dataclasses
import fractions
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

from glue_jax.config.ranges import Count, Positive, Whole


@dataclasses.dataclass(frozen=True)
class Schedule:
  """The config's section `train`.

  Attributes:
    epochs, steps, minutes: length of the run; one of them. Of epochs also a
      part; minutes of wall time, see budget.py.
    accumulate: micro-batches a step.
    log_every: steps between two lines of metrics.
    eval_every: steps between two evaluations; None = once an epoch; the end
      is always evaluated.
    save_every: steps between two checkpoints; None = with every evaluation.
    keep: how many of the last checkpoints are kept.
    select: 'last' or 'best': which checkpoint the run's result is.
    select_metric: what the best checkpoint is chosen by, and patience waits
      for: 'validation/macro_f1', or 'loss'; None = the task's primary metric
      for the first, the loss of the first evaluation split for the latter. See
      evaluation/selection.py.
    select_direction: 'max' or 'min', for a metric whose direction isn't known.
    patience: evaluations in a row that are no better after which the run ends
      early; 0 = never.
    nonfinite: 'stop' or 'skip'.
    max_programs: variants whose programs are kept; warn when more programs
      than this were compiled.
  """

  epochs: Positive | None = None
  steps: Count | None = None
  minutes: Positive | None = None
  accumulate: Count = 1
  log_every: Count = 20
  eval_every: Count | None = None
  save_every: Count | None = None
  keep: Count = 2
  select: Literal['last', 'best'] = 'last'
  select_metric: str | None = None
  select_direction: Literal['max', 'min'] | None = None
  patience: Whole = 0
  nonfinite: Literal['stop', 'skip'] = 'stop'
  max_programs: Count = 16

  def __post_init__(self):
    given = (self.epochs, self.steps, self.minutes)
    if sum(length is not None for length in given) != 1:
      raise ValueError(
        'config.train: give either `epochs` or `steps`, or `minutes`'
      )

  def total_steps(self, steps_per_epoch: int) -> int:
    """Returns the steps of the run; a part of an epoch is rounded up.

    Of minutes one epoch, as long as the run's speed isn't known.
    """
    if self.steps:
      return self.steps
    if self.minutes:
      return steps_per_epoch
    # As it is written: 0.1 of 30 steps is 3, though the float is above 0.1.
    return math.ceil(fractions.Fraction(str(self.epochs)) * steps_per_epoch)

  def end(self, total: int, first_step: Callable[[int], int]) -> int:
    """Returns the step that ends the run, whatever lengths its epochs have.

    Args:
      total: steps that it was planned with.
      first_step: epoch -> the step that it begins with.
    """
    if not self.epochs:
      return total
    whole, part = divmod(fractions.Fraction(str(self.epochs)), 1)
    first, after = first_step(int(whole)), first_step(int(whole) + 1)
    return first + math.ceil(part * (after - first))


@dataclasses.dataclass(frozen=True)
class Network:
  """The config's section `model`.

  Attributes:
    weights: folder, or name of the hub (data/hub.py), that sizes, parameters
      and, unless data.tokenizer says otherwise, the tokenizer come from; None =
      a preset, and parameters from the seed.
    adapter: bundle or folder of `peft` that the methods' leaves come from, and
      the head if its labels are the task's; None = from the seed.
    fresh: patterns of leaves that start from the seed all the same.
    carry: patterns of the leaves that methods left in the weights' folder and
      methods of this run begin with (a projection, a generator).
    cast: take weights of another precision; see `huggingface.load_hf`.
    head: kind of head, where it isn't that of the task's kind: a key of the
      family's HEADS, as 'replaced_tokens' or 'encoder'.
    grow_positions: positions that the weights' table is grown to, for longer
      inputs than they were trained on; see weights/positions.py.
    sizes: arguments of `model.build`: name, preset, fields of the encoder's
      config.
  """

  weights: str | None
  adapter: str | None
  fresh: tuple[str, ...]
  carry: tuple[str, ...]
  cast: bool
  head: str | None
  grow_positions: Count | None
  sizes: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Part:
  """A method or an objective that a config names.

  Attributes:
    name: of its file.
    make: `(ctx, **arguments) -> Method or Objective`, of the file named.
    arguments: what the config gives it.
  """

  name: str
  make: Callable[..., Any]
  arguments: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Sections:
  """A config without stages, each section bound to what reads it.

  Attributes:
    task, data, optimizer, mesh: arguments of what `schema.READERS` names.
    model: which network, from where.
    objective, methods: what makes them.
    train: how long, how often.
    phases: {phase of the objective: changes of `optimizer` for it}.
  """

  task: Mapping[str, Any]
  data: Mapping[str, Any]
  model: Network
  objective: Part
  methods: tuple[Part, ...]
  optimizer: Mapping[str, Any]
  train: Schedule
  mesh: Mapping[str, Any]
  phases: Mapping[str, Mapping[str, Any]] = dataclasses.field(
    default_factory=dict
  )
