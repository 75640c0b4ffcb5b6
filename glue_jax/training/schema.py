"""What may stand in a config: the signatures of what reads it.

`bind` joins every section of a config to its reader, once; what builds and
trains a run receives the `Sections` that it returns and looks at no config any
more. `check` does the same for all stages without building anything, so that a
sweep of a hundred cells, or a test, finds a mistake at once.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

from glue_jax.config import config as config_lib
from glue_jax.config import ranges
from glue_jax.data import load, pipeline
from glue_jax.data.tasks import by_name
from glue_jax.data.tasks.task import CORPUS_KINDS
from glue_jax.devices import sharding
from glue_jax.layers import activations, spec
from glue_jax.layers.gates import base as gates
from glue_jax.layers.spec import EncoderConfig
from glue_jax.models import model as models
from glue_jax.optim import build as optim
from glue_jax.reporting import logger
from glue_jax.training import own_hooks
from glue_jax.training.sections import Network, Part, Schedule, Sections

# {section: (what reads it, the arguments that the caller passes itself)}.
READERS: dict[str, tuple[Callable, tuple[str, ...]]] = {
  'task': (by_name.make, ()),
  'data': (
    pipeline.build,
    ('task', 'seed', 'process_index', 'process_count'),
  ),
  'optimizer': (optim.make, ('total_steps', 'names', 'leaf_states', 'updates')),
  'train': (Schedule, ()),
  'mesh': (sharding.make_mesh, ('devices',)),
}


def check(config: Any) -> dict[str, Any]:
  """Checks every key of a config, and of each of its stages.

  Args:
    config: as a config file returns it.

  Returns:
    {stage: its completed config}, in order; '' is the only one where the
    config has no stages.

  Raises:
    ValueError: a key that nothing reads, a part (method, objective, model)
      that doesn't exist, a required key that is missing, a value that isn't
      what its reader's signature says, or a stage twice.
  """
  full = config_lib.complete(config)
  if not full.stages:
    _check_whole(full)
    return {'': full}
  base = full.to_dict() | {'stages': ()}
  stages: dict[str, Any] = {}
  for name, changes in full.stages:
    if name in stages:
      raise ValueError(f'config.stages: {name!r} is there twice')
    if 'stages' in changes:
      raise ValueError(f'config.stages.{name}: a stage has no stages itself')
    try:
      stages[name] = config_lib.complete(config_lib.override(base, changes))
      _check_whole(stages[name])
    except ValueError as error:
      raise ValueError(f'stage {name}: {error}') from error
  return stages


def _check_whole(config: Any) -> None:
  """Binds a config, and makes what only its training needs."""
  bind(config)
  full = config_lib.plain(config)
  own_hooks.make(full['hooks'])
  logger.make(full['loggers'])


def bind(config: Any, total: int | None = None) -> Sections:
  """Binds every section of a config to what reads it.

  Args:
    config: completed, without stages.
    total: steps of the run, whatever the config says.

  Raises:
    ValueError: see `check`.
  """
  full = config_lib.plain(config)
  train = bind_section('train', full)
  if total is not None:
    train |= {'steps': total, 'epochs': None, 'minutes': None}
  objective = dict(full['objective'])
  name = objective.pop('name', 'task')
  optimizer, phases = _optimizers(full)
  return Sections(
    task=bind_section('task', full),
    data=bind_section('data', full),
    model=_network(full),
    objective=_part('objectives', name, objective, 'objective'),
    methods=tuple(
      _part('methods', method, arguments, f'methods.{method}')
      for method, arguments in full['methods']
    ),
    optimizer=optimizer,
    train=Schedule(**train),
    mesh=bind_section('mesh', full),
    phases=phases,
  )


def _optimizers(
  full: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
  """Checks the optimizer's section, and as each phase of a step has it."""
  common = dict(full['optimizer'])
  phases = common.pop('phases', {})
  hint = Mapping[str, Mapping[str, Any]]
  ranges.check(phases, hint, 'config.optimizer.phases')
  reader, given = READERS['optimizer']
  places = {'optimizer': {}} | {
    f'optimizer.phases.{name}': changes for name, changes in phases.items()
  }
  for where, changes in places.items():
    section = config_lib.bind(reader, common | changes, where, *given)
    optim.make_core(section.get('name', 'adamw'), section.get('args') or {})
  return common, phases


def bind_section(name: str, config: Any) -> dict[str, Any]:
  """Returns one section of a config as the arguments of its reader.

  Args:
    name: key of `READERS`.
    config: completed.

  Raises:
    ValueError: a key that the reader doesn't take, or one that it needs.
  """
  reader, given = READERS[name]
  return config_lib.bind(reader, config[name], name, *given)


def _part(
  package: str, name: str, arguments: Mapping[str, Any], where: str
) -> Part:
  """Finds the file of an objective or a method and binds its `make`."""
  make = getattr(config_lib.module(package, name, where), 'make', None)
  if make is None:
    raise ValueError(
      f'config.{where}: glue_jax/{package}/{name}.py is shared by others and '
      'has no `make`; name another file'
    )
  return Part(name, make, config_lib.bind(make, arguments, where, 'ctx'))


def _network(full: Mapping[str, Any]) -> Network:
  """Checks the model's keys: of `model.build`, and the encoder's fields."""
  # None takes back what an earlier stage's config said.
  sizes = {k: v for k, v in full['model'].items() if v is not None}
  weights = sizes.pop('weights', None) or None
  adapter = sizes.pop('adapter', None) or None
  fresh, cast = sizes.pop('fresh', ()), sizes.pop('cast', False)
  carry = sizes.pop('carry', ())
  kind, grow = (sizes.pop(key, None) for key in ('head', 'grow_positions'))
  start = dict(
    weights=weights,
    adapter=adapter,
    fresh=fresh,
    carry=carry,
    cast=cast,
    head=kind,
    grow_positions=grow,
  )
  ranges.check_arguments(Network, start, 'config.model')
  fields = {field.name for field in dataclasses.fields(EncoderConfig)}
  unknown = sizes.keys() - fields - {'name', 'preset'}
  if unknown:
    raise ValueError(
      f'config.model: nothing reads {sorted(unknown)}; known keys are name, '
      f'preset, weights, adapter, fresh, carry, cast, head, grow_positions, '
      f'{", ".join(sorted(fields))}'
    )
  if carry and not weights:
    raise ValueError(
      f'config.model.carry={carry!r} takes leaves of a finished run; give its '
      'folder as model.weights'
    )
  _check_growth(grow, weights, sizes)
  if adapter and not weights:
    raise ValueError(
      f'config.model.adapter={adapter!r} belongs to a backbone; give its '
      'folder as model.weights'
    )
  if weights is None and 'name' not in sizes:
    raise ValueError(
      'config.model: give `name` and `preset`, or `weights`: a folder, or a '
      'name of the hub, as in '
      f'--config.model.weights=google-bert/bert-base-uncased{_no_data(full)}'
    )
  if 'name' in sizes:
    config_lib.module('models', sizes['name'], 'model.name')
    config_lib.bind(models.build, sizes, 'model')
  _check_fields(sizes)
  starts = (tuple(fresh), tuple(carry))
  return Network(weights, adapter, *starts, cast, kind, grow, sizes)


def _no_data(full: Mapping[str, Any]) -> str:
  """How to fetch the data of a config that has none either; '' if it has."""
  try:
    task = by_name.make(**bind_section('task', full))
  except OSError:
    return ''
  data = full['data']
  given = data.get('data_dir') or os.environ.get(load.VARIABLE)
  named = data.get('files') or (task.sources and not task.tfds)
  if task.generated or given or named or task.kind in CORPUS_KINDS:
    return ''
  return (
    '. Its data is missing, too: fetch it by python -m launch.data prepare '
    f'--task={task.name} --source=hub --data_dir=DIR, then give '
    '--config.data.data_dir=DIR'
  )


def _check_growth(grow, weights, sizes):
  """Refuses `model.grow_positions` where there is no table to grow."""
  if grow is None:
    return
  where = f'config.model.grow_positions={grow!r}'
  if weights is None:
    raise ValueError(
      f'{where} grows the table of model.weights, and there are none; give '
      'model.max_positions'
    )
  if 'max_positions' in sizes:
    raise ValueError(
      f'{where} and model.max_positions={sizes["max_positions"]}: give one'
    )


def _check_fields(sizes: Mapping[str, Any]) -> None:
  """Checks the encoder's fields, and the names of its parts."""
  fields = {k: v for k, v in sizes.items() if k != 'options'}
  ranges.check_arguments(EncoderConfig, fields, 'config.model')
  if 'activation' in fields:
    activations.activation(fields['activation'])
  for slot in spec.SLOTS:
    names = fields.get(slot, ())
    for name in (names,) if isinstance(names, str) else names:
      if name:  # '' leaves the feed-forward part out
        spec.part(slot, name)
  _check_options(sizes.get('options', {}))


def _check_options(options: Mapping[str, Any]) -> None:
  """Checks the options of the network's parts, and of the experts' gate."""
  ranges.check(options, Mapping[str, Mapping[str, Any]], 'config.model.options')
  for file, arguments in options.items():
    where = f'model.options.{file}'
    for taker in spec.takers(file):
      config_lib.bind(taker, arguments, where, 'config', 'parent', 'name')
      if 'gate_options' in arguments:
        gate = gates.find(arguments.get('gate', taker.gate))
        given = ('config', 'experts', 'parent', 'name')
        nested = dict(arguments['gate_options'])
        config_lib.bind(gate, nested, f'{where}.gate_options', *given)
