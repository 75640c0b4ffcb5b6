"""What a config builds: mesh, data, model, parameters, methods, objective.

Training, evaluation, prediction and export all start here, so that they agree
on every part.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.sharding import Mesh

from glue_jax import config as config_lib
from glue_jax import method, tree
from glue_jax.data import pipeline
from glue_jax.data.tasks import by_name
from glue_jax.devices import sharding
from glue_jax.models import encoder, initial
from glue_jax.models import model as models
from glue_jax.plugs import Apply
from glue_jax.training.parts import Parts
from glue_jax.weights.source import (
  load_model,
  load_tuned,
  read_params,
  read_sizes,
)


def build(
  config: Any,
  seed: int,
  *,
  total_steps: Callable[[int], int],
  load: bool = True,
  **data: Any,
) -> Parts:
  """Builds the parts.

  Args:
    config: from `config.complete`.
    seed: of this run.
    total_steps: steps per epoch -> steps of the run.
    load: read the parameters of `model.weights`; False if a checkpoint is going
      to replace them all.
    **data: overrides of the config's data section.

  Raises:
    ValueError: whatever part of the config doesn't fit; see each part.
  """
  mesh = make_mesh(config)
  bundle = make_data(config, mesh, seed, **data)
  with sharding.enter(mesh):
    plain = Apply(make_model(config, bundle))
    plain.model.config.check_lengths(bundle.buckets)
    check_ids(bundle, plain.model.config)
    steps_per_epoch = bundle.train.steps_per_epoch if bundle.train else 1
    steps = total_steps(steps_per_epoch)
    context = method.Context(
      task=bundle.task,
      tokenizer=bundle.tokenizer,
      model=plain.model,
      steps_per_epoch=steps_per_epoch,
      total_steps=steps,
      load=load_model,
      load_tuned=load_tuned,
    )
    objective = make_part('objectives', config.objective, context)
    methods = [
      make_part('methods', dict(kwargs, name=name), context)
      for name, kwargs in config.methods
    ]
    rng = jax.random.key(seed)
    batch = example_batch(bundle)
    params = initial_params(config if load else None, plain, rng, batch)
    names = frozenset(tree.flatten(params))
    params, owners = method.add_leaves(rng, params, plain, methods, batch)
    composed = method.compose(methods, owners)
    specs = sharding.param_specs(params, encoder.RULES, mesh)
    check_expert_axis(specs, mesh)
    params = sharding.put(params, specs)
  return Parts(
    config=config,
    mesh=mesh,
    bundle=bundle,
    apply=plain.replace(plugs=composed.plugs),
    plain=plain,
    params=params,
    method=composed,
    objective=objective,
    total_steps=steps,
    rules=encoder.RULES,
    names=names,
  )


def check_expert_axis(specs: tree.Tree, mesh: Mesh) -> None:
  """Refuses devices along `expert` that would all do the same.

  Raises:
    ValueError: no parameter is split over that axis.
  """
  size = mesh.shape['expert']
  split = any('expert' in x.spec for x in tree.flatten(specs).values())
  if size > 1 and not split:
    raise ValueError(
      f'mesh.expert={size}, but the model has no sparse experts to split; give '
      "those devices to another axis, or set model.ffn='experts'"
    )


def make_mesh(config: Any) -> Mesh:
  """Returns the mesh of the config over all devices."""
  kwargs = config_lib.bind(sharding.make_mesh, config.mesh, 'mesh', 'devices')
  return sharding.make_mesh(**kwargs)


def make_data(
  config: Any, mesh: Mesh, seed: int, **overrides: Any
) -> pipeline.DataBundle:
  """Returns the data of the config for this process.

  Raises:
    ValueError: a batch size that the mesh doesn't divide; see also
      `pipeline.build`.
  """
  task = by_name.make(**config_lib.bind(by_name.make, config.task, 'task'))
  given = ('task', 'seed', 'process_index', 'process_count')
  kwargs = config_lib.bind(pipeline.build, config.data, 'data', *given)
  multiple = sharding.batch_multiple(mesh)
  for key in ('batch_size', 'eval_batch_size'):
    if kwargs.get(key, multiple) % multiple:
      raise ValueError(
        f'config.data.{key}={kwargs[key]} is not divisible by the '
        f'{multiple} devices that share a batch (mesh data x fsdp)'
      )
  return pipeline.build(
    task,
    seed=seed,
    process_index=jax.process_index(),
    process_count=jax.process_count(),
    **(kwargs | overrides),
  )


def make_model(config: Any, bundle: pipeline.DataBundle) -> Any:
  """Returns the module; sizes come from a preset or from `model.weights`.

  Raises:
    ValueError: the tokenizer has more tokens than the model has rows.
  """
  section = config_lib.plain(config.model)
  # None takes back what an earlier stage's config said.
  kwargs = {key: value for key, value in section.items() if value is not None}
  weights = kwargs.pop('weights', None)
  for key in ('fresh', 'cast'):  # read by initial_params
    kwargs.pop(key, None)
  if weights:
    clash = {'preset', 'vocab_size'} & kwargs.keys()
    if clash:
      raise ValueError(
        f'config.model: {sorted(clash)} come from model.weights={weights!r}; '
        'leave them out'
      )
    # A name given is that of another family of the same sizes.
    kwargs = read_sizes(weights) | kwargs
  else:
    kwargs.setdefault('vocab_size', bundle.tokenizer.vocab_size)
    kwargs.setdefault('pad_id', bundle.tokenizer.pad_id)
    special = (bundle.tokenizer.cls_id, bundle.tokenizer.sep_id)
    kwargs.setdefault('special_ids', special)
  if 'name' not in kwargs:
    raise ValueError('config.model: give `name` and `preset`, or `weights`')
  module = models.build(
    kind=bundle.task.kind,
    num_outputs=by_name.num_outputs(bundle.task),
    **kwargs,
  )
  if bundle.tokenizer.vocab_size > module.config.vocab_size:
    raise ValueError(
      f'the tokenizer has {bundle.tokenizer.vocab_size} tokens, the model only '
      f'{module.config.vocab_size} rows; give the tokenizer of the weights'
    )
  return module


def check_ids(bundle: pipeline.DataBundle, config: Any) -> None:
  """Refuses ids that a table has no row for: lookups would give NaN.

  Raises:
    ValueError: a token type of the data is not below `type_vocab_size`, or a
      token not below `vocab_size`.
  """
  batches = [bundle.train] if bundle.train else list(bundle.evals.values())
  for examples in (b.examples for b in batches):
    for field, size in (
      ('type_ids', config.type_vocab_size),
      ('ids', config.vocab_size),
    ):
      largest = int(getattr(examples, field).max(initial=0))
      if largest >= size:
        raise ValueError(
          f'the data has {field} up to {largest}, the model has {size} rows; '
          'give the tokenizer that belongs to the weights'
        )


def make_part(package: str, section: Any, context: method.Context) -> Any:
  """Returns `glue_jax.<package>.<section.name>.make(context, **the rest)`."""
  kwargs = config_lib.plain(section)
  name = kwargs.pop('name')
  where = f'{package}.{name}'
  make = config_lib.module(package, name, where).make
  return make(context, **config_lib.bind(make, kwargs, where, 'ctx'))


def example_batch(bundle: pipeline.DataBundle) -> dict[str, np.ndarray]:
  """Returns one row of the greatest length, for shapes only.

  What a part can't do at that length is an error before any training.
  """
  batches = bundle.train or next(iter(bundle.evals.values()), None)
  length = max(bundle.buckets)
  if batches is None:
    row = np.ones((1, length), np.int32)
    return {'input_ids': row, 'attention_mask': row, 'token_type_ids': row * 0}
  examples = batches.examples
  return examples.batch(np.array([-1]), length)


def initial_params(
  config: Any, apply: Apply, rng: jax.Array, batch: Mapping[str, Any]
) -> tree.Tree:
  """Returns the parameters to start from.

  Without a config all of them are drawn from the seed. Leaves that
  `model.weights` has are taken from there. Only a head or pooler may be missing
  there and start afresh; what `model.fresh` patterns match does so in any case
  (a head of another number of classes).

  Raises:
    ValueError: the weights lack other leaves, or have other shapes.
  """
  section = config_lib.plain(config.model) if config else {}
  weights = section.get('weights')
  expected = jax.eval_shape(apply.init, rng, batch)
  found = {}
  if weights:
    fresh = tuple(section.get('fresh', ()))
    found = tree.flatten(
      read_params(
        weights,
        apply.model,
        new_head=any(p.startswith('head/') for p in fresh),
        cast=section.get('cast', False),
      )
    )
    is_fresh = lambda name: any(tree.matches(p, name) for p in fresh)
    found = {n: x for n, x in found.items() if not is_fresh(n)}
    allowed = ('head/.*', 'pooler/.*', *fresh)
    wanted = {
      n: x
      for n, x in tree.flatten(expected).items()
      if n in found or not any(tree.matches(p, n) for p in allowed)
    }
    found = {n: x for n, x in found.items() if n in wanted}
    problem = tree.diff(tree.unflatten(wanted), tree.unflatten(found))
    if problem:
      raise ValueError(
        f'weights {weights} do not fit (- missing, ! other shape); '
        f'list what may start afresh in model.fresh:\n{problem}'
      )
  missing = tree.flatten(expected).keys() - found.keys()
  if weights and missing:
    logging.info('fresh from the seed: %s', ', '.join(sorted(missing)))

  fresh = initial.draw(apply.init, missing, rng, batch)
  return tree.unflatten(
    {n: found.get(n, fresh.get(n)) for n in tree.flatten(expected)}
  )
