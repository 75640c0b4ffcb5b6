"""A finished (or stopped) run, loaded for evaluation, prediction and export."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax

from glue_jax import config as config_lib
from glue_jax.devices import sharding
from glue_jax.method import Host
from glue_jax.training import build, checkpoint, session
from glue_jax.training.parts import Parts
from glue_jax.weights import run_folder, saved_model


@dataclasses.dataclass
class Run:
  """A run's parts with the parameters of one checkpoint.

  Attributes:
    config, task, tokenizer, bundle: as in training, but without training data.
    model: the plain module.
    params: its tree after the method's export (merged), on the host.
    predict_fn: batch -> outputs; what `evaluate` and `predict` take.
    step: of the checkpoint.
    parts: everything else.
    host: holds the state, before export, and its variant.
    begun: the config as it was at the start: `config` may have other weights.
    rank: that was chosen by `at_rank`; None = that of the training.
    workdir: folder of this one run; None for a bundle, which has none.
  """

  config: Any
  task: Any
  tokenizer: Any
  bundle: Any
  model: Any
  params: Any
  predict_fn: Callable
  step: int
  parts: Parts
  host: Host
  begun: Any
  rank: int | None = None
  workdir: pathlib.Path | None = None

  def at_rank(self, rank: int) -> 'Run':
    """Returns the run with its low-rank update cut to a smaller rank.

    Raises:
      ValueError: see `session.truncated`.
    """
    with sharding.enter(self.parts.mesh):
      state = session.truncated(self.parts, self.host.state, rank)
      return dataclasses.replace(
        self,
        params=session.exported(self.parts, state),
        predict_fn=session.predict_fn(self.parts, state, self.host.variant),
        rank=rank,
      )


def load_run(
  workdir: str | os.PathLike,
  which: str = 'last',
  seed: int | None = None,
  step: int | None = None,
  stage: str | None = None,
  **data: Any,
) -> Run:
  """Loads a checkpoint of a run.

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
  """
  found = run_folder.one(workdir, stage, seed)
  workdir, seed = found.path, found.seed
  config = begun = run_folder.read_config(workdir)
  model = workdir / 'model'
  if (model / saved_model.MODEL).is_file():
    # The run's own sizes and tokenizer: what it started from may be gone.
    config = config_lib.complete(dict(config, model={'weights': str(model)}))
    data = {'tokenizer': str(model)} | data
  data = {'train_split': '', 'eval_splits': ()} | data
  parts = build.build(config, seed, total_steps=lambda _: 1, load=False, **data)
  with sharding.enter(parts.mesh):
    tx, _ = session.make_optimizer(config, parts)
    key = jax.random.key(seed)
    host = Host(None, 1, 1, session.initial_state(parts, tx, key))
    saved = checkpoint.Checkpoints(workdir / 'checkpoints', create=False)
    newest = saved.newest(which)  # also moves damaged ones aside
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
    session.restore_step(saved, which, step, parts, tx, host)
    params = session.exported(parts, host.state)
    predict = session.predict_fn(parts, host.state, host.variant)
  return Run(
    config=config,
    task=parts.bundle.task,
    tokenizer=parts.bundle.tokenizer,
    bundle=parts.bundle,
    model=parts.plain.model,
    params=params,
    predict_fn=predict,
    step=step,
    parts=parts,
    host=host,
    begun=begun,
    workdir=workdir,
  )


def open_run(
  workdir: str | os.PathLike,
  which: str | None = None,
  seed: int | None = None,
  splits: Sequence[str] | None = (),
  data_dir: str | None = None,
  stage: str | None = None,
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
  data = {'eval_splits': splits, 'eval_limit': None}
  if data_dir:
    data['data_dir'] = data_dir
  return load_run(folder, which, **data)


def _has_best(folder: pathlib.Path) -> bool:
  return any((folder / 'checkpoints' / 'best').glob('*'))
