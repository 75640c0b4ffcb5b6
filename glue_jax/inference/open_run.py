"""A finished (or stopped) run, loaded for evaluation, prediction and export."""

import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from glue_jax import tree
from glue_jax.config import config as config_lib
from glue_jax.data import hub
from glue_jax.devices import sharding
from glue_jax.evaluation import decisions
from glue_jax.inference.run import Run
from glue_jax.training import (
  checkpoint,
  inputs,
  schema,
  session,
)
from glue_jax.training.begin import begin, reader_of
from glue_jax.training.parts import Parts
from glue_jax.weights import run_folder, saved_model


def load_run(
  workdir: str | os.PathLike,
  which: str = 'last',
  seed: int | None = None,
  step: int | None = None,
  stage: str | None = None,
  **data: Any,
) -> Run:
  """Loads a checkpoint of a run, finished or not, from its folder alone.

  Args:
    workdir: of the run; see `run_folder`.
    which: 'last' or 'best'.
    seed: which of several.
    step: which of the kept checkpoints; None = the newest whole one.
    stage: which of several.
    **data: overrides of the config's data section; by default nothing is read
      but what the tokenizer needs.

  Raises:
    ValueError: no such run, seed or stage, or several to choose from.
    CheckpointError: no whole checkpoint.

  Thresholds and a temperature of that checkpoint (evaluation/decisions.py) are
  read and named in a warning; predictions use them.
  """
  folder = run_folder.one(workdir, stage, seed)
  workdir, seed = folder.path, folder.seed
  config = begun = run_folder.read_config(workdir)
  model = workdir / 'model'
  own = inputs.read(workdir)
  # The run's own sizes and tokenizer: what it started from may be gone.
  if (model / saved_model.MODEL).is_file():
    network = {'weights': str(model), 'head': config.model.get('head')}
    config = config_lib.complete(dict(config, model=network))
  if own or (model / saved_model.MODEL).is_file():
    data = {'tokenizer': str(model)} | data
  # The devices here may be others than those that it was trained on.
  mesh = sharding.fitting(**config_lib.plain(config.mesh))
  config = config_lib.complete(dict(config, mesh=mesh))
  if 'eval_batch_size' in data:
    size = {'data': {'eval_batch_size': data['eval_batch_size']}}
    config = config_lib.complete(config_lib.override(config, size))
  data = {'train_split': '', 'eval_splits': ()} | data
  total = _least_steps(config)
  run = begin(config, seed, total=total, load=False, kept=own, **data)
  parts, host = run.parts, run.host
  parts.readers = (_backbone(begun, parts, own), _exported(model))
  with sharding.enter(parts.mesh):
    saved = checkpoint.Checkpoints(workdir / 'checkpoints', create=False)
    if which not in checkpoint.KINDS:
      raise ValueError(
        f'checkpoint={which!r}; expected one of {checkpoint.KINDS}'
      )
    newest = saved.newest(which)
    kept = saved.steps(which)
    if step is not None and step not in kept:
      raise checkpoint.CheckpointError(
        f'{workdir} has no checkpoint {which!r} of step {step}; there are '
        f'{kept}'
      )
    step = newest if step is None else step
    if step is None:
      raise checkpoint.CheckpointError(
        f'{workdir} has no whole checkpoint of kind {which!r}'
      )
    try:
      session.restore_step(saved, which, step, parts, run.tx, host)
    except checkpoint.CheckpointError as error:
      if not (model / saved_model.MODEL).is_file():
        raise
      raise checkpoint.CheckpointError(
        f'{error}. The finished model needs nothing else: give {model}'
      ) from error
  return Run.of(
    parts,
    host,
    config=config,
    begun=begun,
    workdir=workdir,
    decisions=decisions.of_step(model, step, parts.bundle.task),
  )


def _least_steps(config: Any) -> int:
  """Steps of a run that takes none: as many as a warm-up counts."""
  own = config_lib.plain(config.optimizer)
  sections = [own, *(own.get('phases') or {}).values()]
  return max(1, *(int(section.get('warmup', 0)) for section in sections))


def _backbone(
  config: Any, parts: Parts, own: inputs.Inputs | None
) -> Callable[[], Mapping[str, Any]]:
  """Reads what the run was begun from, whatever it is opened with."""
  network = schema.bind(config).model
  kept = dict(own.others.get('commits', {})) if own else {}
  names = hub.Commits(kept, kept)
  model, task = parts.plain.model, parts.bundle.task
  return reader_of(network, names, model, task)


def _exported(model: pathlib.Path) -> Callable[[], Mapping[str, Any]]:
  """Reads the finished model; what was merged is another leaf there."""
  return lambda: tree.flatten(saved_model.load_whole(model)[1])


def open_run(
  workdir: str | os.PathLike,
  which: str | None = None,
  seed: int | None = None,
  splits: Sequence[str] | None = (),
  data_dir: str | None = None,
  stage: str | None = None,
  batch_size: int | None = None,
) -> Run:
  """Loads a finished run for the commands.

  Args:
    workdir: of the run; see `run_folder`.
    which: 'last' or 'best'; None = the one that the run's config selects.
    seed: which seed of several.
    splits: read whole, whatever limit the run had; None = the run's own
      evaluation splits.
    data_dir: data folder, if not that of the run.
    stage: which stage of several.
    batch_size: rows of a batch, if not as in the run's own evaluations.

  Raises:
    ValueError: no such run, seed, stage or split, or several to choose from.
    CheckpointError: no whole checkpoint.
  """
  folder = run_folder.one(workdir, stage, seed).path
  config = run_folder.read_config(folder)
  if which is None:
    best = config.train.get('select') == 'best'
    which = 'best' if best and _has_best(folder) else 'last'
  if splits is None:
    splits = config.data.get('eval_splits')
  data: dict[str, Any] = {'eval_splits': splits, 'eval_limit': None}
  if data_dir:
    data['data_dir'] = data_dir
  if batch_size is not None:
    data['eval_batch_size'] = batch_size
  return load_run(folder, which, **data)


def _has_best(folder: pathlib.Path) -> bool:
  return any((folder / 'checkpoints' / 'best').glob('*'))
