"""The one beginning of a run: all that stands before its first step.

`build` makes what a config names: mesh, data, model, parameters, methods,
objective. `begin` adds optimizer, state and step. Training goes on from there;
evaluation, prediction, export and whatever else wants the first step of a
config (its memory, a law about it) begin in the same way, so that they agree on
every part.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from absl import logging
from jax.sharding import Mesh

from glue_jax import tree
from glue_jax.data import hub, label_counts, pipeline
from glue_jax.data.bundle import DataBundle
from glue_jax.data.tasks.task import Task
from glue_jax.devices import sharding
from glue_jax.method import Context, Hook
from glue_jax.plugs import Apply
from glue_jax.training import (
  build_adapter,
  build_data,
  build_model,
  build_params,
  companions,
  compose,
  first_state,
  frozen,
  inputs,
  learning,
  patience,
  schema,
  session,
)
from glue_jax.training.parts import Parts
from glue_jax.training.sections import Network, Sections
from glue_jax.training.step import Programs, make_step
from glue_jax.training.training import Training
from glue_jax.weights import source


def begin(
  config: Any,
  seed: int,
  *,
  total: int | None = None,
  load: bool = True,
  kept: inputs.Inputs | None = None,
  hooks: tuple[Hook, ...] = (),
  commits: dict[str, str] | None = None,
  bundle: DataBundle | None = None,
  abstract: bool = False,
  **data: Any,
) -> Training:
  """Returns a run before its first step.

  Args:
    config: completed config without stages.
    seed: of initialisation, dropout and data order.
    total: steps of the run, whatever the config says.
    load, kept, commits, bundle, abstract: see `build`.
    hooks: own ones, called after the methods'.
    **data: overrides of the config's data section.

  Raises:
    ValueError: whatever part of the config doesn't fit; see `build`.
  """
  sections = schema.bind(config, total)
  parts = build(
    sections,
    seed,
    load=load,
    kept=kept,
    commits=commits,
    bundle=bundle,
    abstract=abstract,
    **data,
  )
  key = jax.random.key(seed)
  make = first_state.initial_state
  if abstract:
    make = first_state.abstract_state
  with sharding.enter(parts.mesh):
    tx, rates = first_state.make_optimizer(parts)
    state = make(parts, tx, key)
  schedule = sections.train
  programs = Programs(
    lambda variant: make_step(
      parts.apply.replace(variant=variant),
      parts.objective,
      parts.method,
      tx,
      accumulate=schedule.accumulate,
      nonfinite=schedule.nonfinite,
    ),
    limit=schedule.max_programs,
  )
  called, best = parts.method.hooks, None
  if parts.bundle.train:
    best, waits = patience.criteria(parts)
    if waits:
      called += (patience.hook(schedule.patience, waits),)
  called += hooks

  def new_host():
    with sharding.enter(parts.mesh):
      fresh = first_state.initial_state(parts, tx, key)
      # Leaves that need no move are the parts' own; steps use theirs up.
      return session.make_host(parts, jax.tree.map(jnp.copy, fresh), key)

  host = session.make_host(parts, state, key)
  if parts.bundle.train:
    with sharding.enter(parts.mesh):
      batch = build_data.example_batch(parts.bundle)
      session.check_objective(parts, host, batch)
  return Training(parts, tx, rates, key, programs, called, host, new_host, best)


def build(
  sections: Sections,
  seed: int,
  *,
  load: bool = True,
  kept: inputs.Inputs | None = None,
  commits: dict[str, str] | None = None,
  bundle: DataBundle | None = None,
  abstract: bool = False,
  **data: Any,
) -> Parts:
  """Builds the parts.

  Args:
    sections: the config, from `schema.bind`.
    seed: of this run.
    load: read `model.weights` and `model.adapter`; False if a checkpoint is
      going to replace all parameters.
    kept: task and sizes as an earlier start wrote them, whatever lies where
      the config says; also sizes of the models and files that its methods
      read, whose values then are zeros.
    commits: {name of the hub: commit that it stands for}; names that it lacks
      are looked up, and added.
    bundle: data that an earlier beginning of this run has read.
    abstract: make no parameters, only their shapes and places: of a model that
      would not fit here.
    **data: overrides of the config's data section.

  Raises:
    ValueError: whatever part of the config doesn't fit; see each part.
  """
  mesh = make_mesh(sections)
  task = inputs.current_task(sections.task, kept.task if kept else None)
  names = _commits(commits, kept)
  network = sections.model
  if load or not kept:
    network = _fetched(network, names)
  data['tokenizer'] = _tokenizer(sections, data, names)
  bundle = bundle or build_data.make_data(sections, task, mesh, seed, **data)
  with sharding.enter(mesh):
    sizes = _sizes(network, kept)
    plain = Apply(build_model.make_model(network, sizes, bundle))
    plain.model.config.check_lengths(bundle.buckets)
    build_data.check_ids(bundle, plain.model.config)
    others = source.Others(bundle, kept.others if kept else {}, names)
    context = make_context(sections, bundle, plain, others)
    objective, methods = compose.made(sections, context)
    rng, batch = jax.random.key(seed), build_data.example_batch(bundle)
    saved, notes = None, (*bundle.notes, *others.notes)
    if network.weights and load:
      saved, note = _weights(network, plain.model, task)
      notes += (note,) if note else ()
    for text in notes:
      logging.warning('%s', text)

    make = functools.partial(_all_leaves, network, saved, plain, methods, batch)
    params, leaves = build_params.abstract(make, rng) if abstract else make(rng)
    composed = compose.compose(methods, leaves)
    taken: dict[str, Any] = {}
    if network.adapter and load:
      given = {part.name: part.arguments for part in sections.methods}
      params, taken = build_adapter.start_from(
        network, plain, saved, params, given, composed, leaves, bundle.task
      )
    rules = companions.rules(plain.model.rules, composed.companions)
    origins = _origins(network, saved, params, composed, others)
    params = build_params.place(params, rules, mesh)
  return Parts(
    sections=sections,
    mesh=mesh,
    bundle=bundle,
    apply=companions.beside(plain, composed),
    plain=plain,
    params=params,
    method=composed,
    objective=objective,
    total_steps=context.total_steps,
    rules=rules,
    names=leaves.model,
    trained=learning.sizes(methods, leaves, params),
    adapter=taken,
    notes=notes,
    others=others.records,
    origins=origins,
    readers=(reader_of(network, names, plain.model, task),),
    opened=not load,
  )


def _all_leaves(network, saved, plain, methods, batch, rng):
  """The whole tree that a run begins with, and whose its leaves are."""
  params = build_params.initial_params(network, saved, plain, rng, batch)
  params, leaves = compose.add_leaves(rng, params, plain, methods, batch)
  return build_params.carried(network, saved, params, leaves), leaves


def _origins(network, saved, params, method, others) -> dict[str, str]:
  """{place: folder} of the leaves that are still as they were read."""
  trees = {n: c.weights for n, c in method.companions.items() if not c.learns}
  read = others.read | ({network.weights: saved} if saved else {})
  return frozen.origins({'params': params} | trees, read)


def _sizes(network: Network, kept: inputs.Inputs | None) -> Mapping[str, Any]:
  """Arguments of `model.build` that the weights fix."""
  if kept or not network.weights:
    return kept.sizes if kept else {}
  return source.read_sizes(network.weights, network.grow_positions)


def reader_of(
  network: Network, names: hub.Commits, model: Any, task: Task
) -> Callable[[], dict[str, Any]]:
  """Returns () -> {name: array} of the leaves of `model.weights`.

  Args:
    network: the config's section.
    names: what names of the hub stand for.
    model: the `Model` that they are for.
    task: whose labels the rows of a head get the order of.
  """

  def leaves():
    if not network.weights:
      return {}
    saved, _ = _weights(_fetched(network, names), model, task)
    return tree.flatten(saved)

  return leaves


def _commits(
  commits: dict[str, str] | None, kept: inputs.Inputs | None
) -> hub.Commits:
  seen = kept.others.get('commits', {}) if kept else {}
  return hub.Commits(dict(seen) if commits is None else commits, dict(seen))


def _tokenizer(
  sections: Sections, data: Mapping[str, Any], names: hub.Commits
) -> Any:
  """The tokenizer, as `pipeline.build` takes it: '' is that of the weights."""
  given = data.get('tokenizer', sections.data.get('tokenizer'))
  given = given or sections.model.weights or pipeline.TRAIN
  if given == pipeline.TRAIN or not isinstance(given, str | os.PathLike):
    return given
  return names.folder(given, weights=False)


def _fetched(network: Network, names: hub.Commits) -> Network:
  """The section with folders in place of names of the hub.

  Raises:
    FileNotFoundError: there are no such weights, or no such adapter.
  """
  weights, adapter = network.weights, network.adapter
  try:
    weights = weights and names.folder(weights)
    if weights and not os.path.exists(weights):
      raise FileNotFoundError(f'{weights}: no such folder')
  except FileNotFoundError as error:
    raise FileNotFoundError(
      f'config.model.weights: {error}. A run that goes on takes its frozen '
      'leaves and its tokenizer from there; if the folder was moved: '
      '--config.model.weights=NEW --allow_config_change'
    ) from error
  adapter = adapter and names.folder(adapter)
  return dataclasses.replace(network, weights=weights, adapter=adapter)


def _weights(network: Network, model: Any, task: Task) -> tuple[Any, str]:
  """The tree of `model.weights`, its head by label names, and a note on it."""
  saved = source.read_params(
    network.weights,
    model,
    new_head=any(p.startswith('head/') for p in network.fresh),
    cast=network.cast,
    grow_positions=network.grow_positions,
    unread=not network.adapter,
    whole=bool(network.carry),
  )
  found = source.read_head(network.weights)
  return build_params.head_by_name(network, saved, found, model.kind, task)


def make_context(
  sections: Sections, bundle: DataBundle, plain: Apply, others: source.Others
) -> Context:
  """Returns what methods and the objective may look at."""
  train, task = bundle.train, bundle.task
  steps_per_epoch = train.steps_per_epoch if train else 1
  counts = None
  if train:
    counts = functools.partial(
      label_counts.count, train.examples, len(task.labels)
    )
  return Context(
    task=task,
    tokenizer=bundle.tokenizer,
    model=plain.model,
    steps_per_epoch=steps_per_epoch,
    total_steps=sections.train.total_steps(steps_per_epoch),
    load=others.model,
    load_tuned=others.tuned,
    load_arrays=others.arrays,
    label_counts=counts,
    lengths=tuple(bundle.buckets),
  )


def make_mesh(sections: Sections) -> Mesh:
  """Returns the mesh of a config over all devices."""
  return sharding.make_mesh(**sections.mesh)
