"""MLflow: pip install 'glue_jax[mlflow]'.

Its own variables hold: MLFLOW_TRACKING_URI (a server, or `sqlite:///FILE` for
none; MLflow's default is `mlflow.db` where the command is typed),
MLFLOW_EXPERIMENT_NAME, MLFLOW_TRACKING_TOKEN. A run that goes on is the same
run there: its id is kept in `loggers/mlflow.json`. The config is its parameters
(and config.json, where they are cut), the result metrics and result.json.
"""

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from absl import logging

from glue_jax.reporting.logger import Run, flat_metrics

NAME = 'mlflow'
_LONGEST = 500  # characters of a parameter that every server takes
_AT_ONCE = 100  # parameters


class MLflow:
  """One run of MLflow, through its client: no state of the process is used.

  Args:
    mlflow: the package.
    tracking_uri, experiment, name, tags: see `make`.
  """

  def __init__(
    self,
    mlflow: Any,
    tracking_uri: str | None,
    experiment: str,
    name: str | None,
    tags: Mapping[str, str],
  ):
    self._mlflow, self._uri = mlflow, tracking_uri
    self._experiment, self._name, self._tags = experiment, name, tags
    self._step = 0

  def start(self, run: Run) -> None:
    """Begins a run, or goes on with the one that was begun."""
    self._client = self._mlflow.MlflowClient(self._uri)
    self._id = run.kept(NAME).get('id')
    known: Mapping[str, str] = {}
    if self._id:
      known = self._client.get_run(self._id).data.params
      self._client.update_run(self._id, status='RUNNING')
    else:
      self._id = self._client.create_run(
        self._experiment_id(),
        run_name=self._name or run.name or None,
        tags={**self._tags, 'workdir': str(run.workdir)},
      ).info.run_id
      run.keep(NAME, {'id': self._id})
    params = [
      self._mlflow.entities.Param(name, str(value)[:_LONGEST])
      for name, value in _flat({**run.config, 'seed': run.seed})
      if name not in known  # it takes no other value for one
    ]
    for i in range(0, len(params), _AT_ONCE):
      self._client.log_batch(self._id, params=params[i : i + _AT_ONCE])
    self._client.log_dict(self._id, dict(run.config), 'config.json')
    logging.info('MLflow: run %s', self._id)

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """Adds the values at that step."""
    self._step, now = step, int(time.time() * 1000)
    metrics = [
      self._mlflow.entities.Metric(name, value, now, step)
      for name, value in values.items()
    ]
    self._client.log_batch(self._id, metrics=metrics)

  def finish(self, result: Mapping[str, Any] | None) -> None:
    """Adds the result and ends the run."""
    if result is not None:
      self.scalars(result.get('step', self._step), flat_metrics(result))
      self._client.log_dict(self._id, dict(result), 'result.json')
    status = 'FAILED' if result is None else 'FINISHED'
    self._client.set_terminated(self._id, status)

  def _experiment_id(self) -> str:
    found = self._client.get_experiment_by_name(self._experiment)
    if found:
      return found.experiment_id
    return self._client.create_experiment(self._experiment)


def make(
  *,
  tracking_uri: str | None = None,
  experiment: str | None = None,
  name: str | None = None,
  tags: Mapping[str, str] | None = None,
) -> MLflow:
  """Returns the logger.

  Args:
    tracking_uri: default: MLFLOW_TRACKING_URI, or MLflow's own default.
    experiment: default: MLFLOW_EXPERIMENT_NAME, or 'glue_jax'.
    name: default: the run's folder.
    tags: of the run.

  Raises:
    ValueError: the package is not installed.
  """
  os.environ.setdefault('MLFLOW_DISABLE_TELEMETRY', 'true')  # to its makers
  try:
    import mlflow
    import mlflow.entities
  except ImportError as error:
    raise ValueError(
      "the package mlflow is not installed; pip install 'glue_jax[mlflow]'"
    ) from error
  chosen = experiment or os.environ.get('MLFLOW_EXPERIMENT_NAME', 'glue_jax')
  return MLflow(mlflow, tracking_uri, chosen, name, tags or {})


def _flat(value: Any, name: str = '') -> Iterator[tuple[str, Any]]:
  """(dotted name, value) of what no dict is."""
  if isinstance(value, Mapping) and value:
    for key, part in value.items():
      yield from _flat(part, f'{name}.{key}' if name else str(key))
  else:
    yield name, value
