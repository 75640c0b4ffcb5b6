"""What may stand in a config: the signatures of what reads it, all at once.

`build.build` binds each section where it is used; `check` binds all of them
without building anything, so that a sweep of a hundred cells, or a test, finds
a mistake at once.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from glue_jax import config as config_lib
from glue_jax import sharding
from glue_jax.data import pipeline, tasks
from glue_jax.models import encoder
from glue_jax.models import model as models
from glue_jax.optim import build as optim
from glue_jax.train import Schedule

# {section: (what reads it, the arguments that the caller passes itself)}.
READERS: dict[str, tuple[Callable, tuple[str, ...]]] = {
  'task': (tasks.make, ()),
  'data': (
    pipeline.build,
    ('task', 'seed', 'process_index', 'process_count'),
  ),
  'optimizer': (optim.make, ('total_steps', 'names')),
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
  unknown = section.keys() - fields - {'name', 'preset', 'weights', 'fresh'}
  if unknown:
    raise ValueError(
      f'config.model: nothing reads {sorted(unknown)}; known keys are name, '
      f'preset, weights, fresh, {", ".join(sorted(fields))}'
    )
  if 'weights' not in section and 'name' not in section:
    raise ValueError('config.model: give `name` and `preset`, or `weights`')
  if 'name' in section:
    config_lib.module('models', section['name'], 'model.name')
    config_lib.bind(models.build, section, 'model')
