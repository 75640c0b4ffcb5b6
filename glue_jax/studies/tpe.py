"""Hyper-parameter search: TPE with median pruning, by optuna.

Tree-structured Parzen estimator (Bergstra et al. 2011, "Algorithms for
Hyper-Parameter Optimization"); a trial is pruned when its best value so far is
below the median of the earlier trials' values at the same step (Golovin et al.
2017, "Google Vizier", section 3.2.2). LEPISZCZE (Augustyniak et al. 2022, arXiv
2211.13112) searches so: seed 441, 25 warm-up steps, 100 trials.

A study is rebuilt from the records of its finished trials by asking and telling
them again, so a search that was stopped goes on to the same points.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

STATES = ('complete', 'pruned', 'failed')


@dataclasses.dataclass
class Trial:
  """One point of a search, JSON-able by `dataclasses.asdict`.

  Attributes:
    number: from 0.
    overrides: {config field: value as typed on the command line}.
    reports: [[step, value], ...], a value after each evaluation.
    state: one of STATES, '' while it runs.
    value: what is optimised; None unless complete.
  """

  number: int
  overrides: dict[str, str]
  reports: list[list] = dataclasses.field(default_factory=list)
  state: str = ''
  value: float | None = None


class Study:
  """A search over declared fields.

  Args:
    space: {field: (kind, arguments)}, see `sweep.parse_random`.
    direction: 'max' or 'min'.
    seed: of the sampler.
    warmup_steps: reports of a trial with a step below it are never pruned. A
      trial reports after each of its evaluations, with steps 1, 2, ...
    startup_trials: trials before any is pruned.

  Raises:
    ImportError: optuna is missing.
    ValueError: the space is empty.
  """

  def __init__(
    self,
    space: Mapping[str, tuple[str, tuple]],
    direction: str = 'max',
    seed: int = 441,
    warmup_steps: int = 25,
    startup_trials: int = 5,
  ):
    if not space:
      raise ValueError('the search space is empty; declare at least one field')
    self.space = dict(space)
    self.trials: list[Trial] = []
    optuna = _optuna()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    self._states = optuna.trial.TrialState
    self._study = optuna.create_study(
      direction={'max': 'maximize', 'min': 'minimize'}[direction],
      sampler=optuna.samplers.TPESampler(seed=seed),
      pruner=optuna.pruners.MedianPruner(
        n_startup_trials=startup_trials, n_warmup_steps=warmup_steps
      ),
    )
    self._open: Any = None

  def ask(self) -> Trial:
    """Returns the next point."""
    self._open = self._study.ask()
    overrides = {
      field: _suggest(self._open, field, kind, args)
      for field, (kind, args) in self.space.items()
    }
    self.trials.append(Trial(self._open.number, overrides))
    return self.trials[-1]

  def report(self, value: float) -> bool:
    """Notes the open trial's next evaluation; whether it should stop."""
    trial = self.trials[-1]
    trial.reports.append([len(trial.reports) + 1, value])
    self._open.report(value, trial.reports[-1][0])
    return self._open.should_prune()

  def tell(self, state: str, value: float | None = None) -> Trial:
    """Ends the open trial.

    Args:
      state: one of STATES.
      value: the result of a complete trial.
    """
    trial = self.trials[-1]
    trial.state, trial.value = state, value
    states = {
      'complete': self._states.COMPLETE,
      'pruned': self._states.PRUNED,
      'failed': self._states.FAIL,
    }
    self._study.tell(self._open, value, state=states[state])
    return trial

  def replay(self, record: Mapping[str, Any]) -> Trial:
    """Asks and tells a finished trial again, from its record.

    Raises:
      ValueError: the point is another one: space, seed or optuna changed.
    """
    trial = self.ask()
    if trial.overrides != record['overrides']:
      raise ValueError(
        f'trial {trial.number} was {record["overrides"]}, and is now '
        f'{trial.overrides}: the space, the seed or the version of optuna is '
        'another one; go on with those of the start, or in a new workdir'
      )
    for _, value in record['reports']:
      self.report(value)
    return self.tell(record['state'], record['value'])

  def best(self) -> Trial:
    """The complete trial with the best value, the first one of equals.

    Raises:
      ValueError: no trial is complete.
    """
    if not any(trial.state == 'complete' for trial in self.trials):
      states = [trial.state for trial in self.trials]
      raise ValueError(f'no trial is complete; the states are {states}')
    return self.trials[self._study.best_trial.number]


def _suggest(trial: Any, field: str, kind: str, args: Sequence) -> str:
  if kind == 'choice':
    return trial.suggest_categorical(field, list(args))
  if kind == 'int':
    return str(trial.suggest_int(field, *args))
  return f'{trial.suggest_float(field, *args, log=kind == "log"):.6g}'


def _optuna() -> ModuleType:
  try:
    import optuna
  except ImportError as error:
    raise ImportError(
      "the TPE search needs optuna: pip install 'glue_jax[search]'"
    ) from error
  return optuna
