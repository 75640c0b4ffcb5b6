"""Weights & Biases: pip install 'glue_jax[wandb]'.

Its own variables hold: WANDB_API_KEY, WANDB_MODE=offline (then `wandb sync
WORKDIR/wandb/offline-run-*` uploads later), WANDB_PROJECT, WANDB_ENTITY. Files
lie in the run's folder `wandb/`. A run that goes on is the same run there: its
id is kept in `loggers/wandb.json`. The seeds and stages of a run are a group.
"""

import os
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from absl import logging

from glue_jax.reporting.logger import FINISH_SECONDS, Run, flat_metrics

NAME = 'wandb'


class Wandb:
  """One run of Weights & Biases.

  Args:
    wandb: the package.
    settings: of `wandb.init`; what is None is left to its variables.
  """

  def __init__(self, wandb: Any, settings: Mapping[str, Any]):
    self._wandb = wandb
    self._settings = {k: v for k, v in settings.items() if v is not None}

  def start(self, run: Run) -> None:
    """Begins a run, or goes on with the one that was begun."""
    kept = run.kept(NAME).get('id') or uuid.uuid4().hex[:8]
    run.keep(NAME, {'id': kept})
    whole = run.name.partition('/')
    given = {
      'project': os.environ.get('WANDB_PROJECT', 'glue_jax'),
      'name': run.name or None,
      'group': whole[0] if whole[1] else None,
    }
    # Console and signals stay the run's own.
    settings = self._wandb.Settings(
      console='off',
      silent=True,
      init_timeout=FINISH_SECONDS,  # a service that is silent holds up no exit
      finish_timeout=FINISH_SECONDS,
    )
    self._run = self._wandb.init(
      **given | self._settings,
      id=kept,
      resume='allow',
      dir=str(run.workdir),
      config={**run.config, 'seed': run.seed},
      allow_val_change=True,
      reinit='create_new',
      settings=settings,
    )
    logging.info('Weights & Biases: %s', self._run.url or 'offline')

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """Adds to the row of that step; it drops steps that it has already."""
    self._run.log(dict(values), step=step)

  def finish(self, result: Mapping[str, Any] | None) -> None:
    """Puts the result into the summary and uploads the rest."""
    if result is not None:
      self._run.summary.update(flat_metrics(result))
    self._run.finish(exit_code=int(result is None))


def make(
  *,
  project: str | None = None,
  entity: str | None = None,
  group: str | None = None,
  name: str | None = None,
  tags: Sequence[str] = (),
  mode: Literal['online', 'offline', 'disabled'] | None = None,
) -> Wandb:
  """Returns the logger.

  Args:
    project: default: WANDB_PROJECT, or 'glue_jax'.
    entity: user or team; default: that of the key.
    group: default: the folder of a run of several seeds or stages.
    name: default: the run's folder.
    tags: of the run.
    mode: default: WANDB_MODE, or 'online'.

  Raises:
    ValueError: the package is not installed.
  """
  os.environ.setdefault('WANDB_ERROR_REPORTING', 'false')  # sends to its makers
  try:
    import wandb
  except ImportError:
    wandb = None
  # A folder `wandb` that another program left where the command is typed is
  # imported too, and holds nothing.
  if not hasattr(wandb, 'init'):
    raise ValueError(
      "the package wandb is not installed; pip install 'glue_jax[wandb]'"
    )
  return Wandb(
    wandb,
    dict(
      project=project,
      entity=entity,
      group=group,
      name=name,
      tags=list(tags) or None,
      mode=mode,
    ),
  )
