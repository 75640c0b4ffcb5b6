"""A finished (or stopped) run, loaded for evaluation, prediction and export."""

import dataclasses
import os
import pathlib
from collections.abc import Callable
from typing import Any

import jax

from glue_jax import build, checkpoint, saved_model, session, sharding
from glue_jax import config as config_lib
from glue_jax.method import Host


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
  """

  config: Any
  task: Any
  tokenizer: Any
  bundle: Any
  model: Any
  params: Any
  predict_fn: Callable
  step: int
  parts: build.Parts
  host: Host
  begun: Any


def load_run(
  workdir: str | os.PathLike,
  which: str = 'last',
  seed: int | None = None,
  step: int | None = None,
  **data: Any,
) -> Run:
  """Loads a checkpoint of a run.

  Args:
    workdir: of one run; with several seeds its parent and `seed`.
    which: 'last' or 'best'.
    seed: one of the run's seeds, if it has several.
    step: which of the kept checkpoints; None = the newest whole one.
    **data: overrides of the config's data section; by default nothing is read
      but what the tokenizer needs.

  Raises:
    ValueError: no such run or seed.
    CheckpointError: no whole checkpoint.
  """
  workdir = pathlib.Path(workdir)
  seeds = sorted(p.name for p in workdir.glob('seed_*'))
  if seed is not None and seeds:
    workdir = workdir / f'seed_{seed}'
  elif seeds:
    raise ValueError(f'{workdir} has several seeds; choose one of {seeds}')
  config = begun = build.run_config(workdir)
  seed = config.seeds[0]
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
  )
