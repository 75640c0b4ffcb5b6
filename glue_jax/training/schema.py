"""What may stand in a config: the signatures of what reads it, all at once.

`build.build` binds each section where it is used; `check` binds all of them
without building anything, so that a sweep of a hundred cells, or a test, finds
a mistake at once.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

from glue_jax import config as config_lib
from glue_jax.data import pipeline
from glue_jax.data.tasks import by_name
from glue_jax.devices import sharding
from glue_jax.models import encoder
from glue_jax.models import model as models
from glue_jax.optim import build as optim


@dataclasses.dataclass(frozen=True)
class Schedule:
  """The config's section `train`.

  Attributes:
    epochs, steps: length of the run; one of them.
    accumulate: micro-batches a step.
    log_every: steps between two lines of metrics.
    eval_every: steps between two evaluations; None = once an epoch; the end
      is always evaluated.
    save_every: steps between two checkpoints; None = with every evaluation.
    keep: how many of the last checkpoints are kept.
    select: 'last' or 'best': which checkpoint the run's result is.
    patience: evaluations in a row without a lower loss of the first evaluation
      split after which the run ends early; 0 = never.
    nonfinite: 'stop' or 'skip'.
    max_programs: variants whose programs are kept; warn when more programs
      than this were compiled.
  """

  epochs: float | None = None
  steps: int | None = None
  accumulate: int = 1
  log_every: int = 20
  eval_every: int | None = None
  save_every: int | None = None
  keep: int = 2
  select: str = 'last'
  patience: int = 0
  nonfinite: str = 'stop'
  max_programs: int = 16

  def __post_init__(self):
    if (self.epochs is None) == (self.steps is None):
      raise ValueError('config.train: give either `epochs` or `steps`')
    for field, values in (
      ('select', ('last', 'best')),
      ('nonfinite', ('stop', 'skip')),
    ):
      if getattr(self, field) not in values:
        raise ValueError(
          f'config.train.{field}={getattr(self, field)!r}: expected {values}'
        )
    for field in ('accumulate', 'log_every', 'keep', 'max_programs'):
      if getattr(self, field) < 1:
        raise ValueError(f'config.train.{field} must be 1 or more')
    if self.patience < 0:
      raise ValueError('config.train.patience must be 0 (never) or more')

  def total_steps(self, steps_per_epoch: int) -> int:
    """Returns the steps of the run."""
    total = self.steps or math.ceil(self.epochs * steps_per_epoch)
    if total < 1:
      raise ValueError(f'config.train asks for {total} steps')
    return total


# {section: (what reads it, the arguments that the caller passes itself)}.
READERS: dict[str, tuple[Callable, tuple[str, ...]]] = {
  'task': (by_name.make, ()),
  'data': (
    pipeline.build,
    ('task', 'seed', 'process_index', 'process_count'),
  ),
  'optimizer': (optim.make, ('total_steps', 'names', 'leaf_states')),
  'train': (Schedule, ()),
  'mesh': (sharding.make_mesh, ('devices',)),
}


def check(config: Any) -> None:
  """Checks every key of a config, and of each of its stages.

  Args:
    config: as a config file returns it.

  Raises:
    ValueError: a key that nothing reads, a part (method, objective, model)
      that doesn't exist, or a required key that is missing.
  """
  full = config_lib.plain(config_lib.complete(config))
  stages = full.pop('stages')
  if not stages:
    _check_one(full)
  for name, changes in stages:
    try:
      part = config_lib.override(full, changes)
      _check_one(config_lib.plain(config_lib.complete(part)))
    except ValueError as error:
      raise ValueError(f'stage {name}: {error}') from error


def _check_one(full: Mapping[str, Any]) -> None:
  """Checks a completed config without stages."""
  for section, (reader, given) in READERS.items():
    config_lib.bind(reader, full[section], section, *given)
  Schedule(**full['train'])
  _check_model(full['model'])
  _check_part('objectives', full['objective'])
  for name, kwargs in full['methods']:
    _check_part('methods', {**kwargs, 'name': name})


def _check_part(package: str, section: Mapping[str, Any]) -> None:
  """Binds the section of an objective or a method to its `make`."""
  kwargs = dict(section)
  where = f'{package}.{kwargs["name"]}'
  make = config_lib.module(package, kwargs.pop('name'), where).make
  config_lib.bind(make, kwargs, where, 'ctx')


def _check_model(section: Mapping[str, Any]) -> None:
  """Checks the model's keys: of `models.build`, and the encoder's fields."""
  # None takes back what an earlier stage's config said.
  section = {k: v for k, v in section.items() if v is not None}
  fields = {field.name for field in dataclasses.fields(encoder.EncoderConfig)}
  unknown = (
    section.keys() - fields - {'name', 'preset', 'weights', 'fresh', 'cast'}
  )
  if unknown:
    raise ValueError(
      f'config.model: nothing reads {sorted(unknown)}; known keys are name, '
      f'preset, weights, fresh, cast, {", ".join(sorted(fields))}'
    )
  if 'weights' not in section and 'name' not in section:
    raise ValueError('config.model: give `name` and `preset`, or `weights`')
  if 'name' in section:
    config_lib.module('models', section['name'], 'model.name')
    config_lib.bind(models.build, section, 'model')
