"""Early stopping: a hook that ends a run that gets no better."""

from glue_jax.evaluation import selection
from glue_jax.evaluation.selection import Criterion
from glue_jax.method import Hook, Host
from glue_jax.training.parts import Parts


def criteria(parts: Parts) -> tuple[Criterion, Criterion | None]:
  """Returns what the best checkpoint is chosen by, and what patience waits for.

  The latter is None where the run doesn't wait.
  """
  bundle, schedule = parts.bundle, parts.sections.train
  tables = bundle.tables
  splits = [s for s in bundle.evals if s not in tables or tables[s].labelled]
  best = selection.of_best(
    bundle.task, splits, schedule.select_metric, schedule.select_direction
  )
  if not schedule.patience:
    return best, None
  waits = selection.of_patience(bundle.task, splits, schedule.patience, best)
  return best, waits


def hook(patience: int, criterion: Criterion) -> Hook:
  """Returns what ends a run once it has stopped getting better.

  Its notes, `host.memory['patience']`, are the best value so far and how many
  evaluations were made since; those of another criterion are dropped.

  Args:
    patience: evaluations in a row without a better value after which the run
      ends.
    criterion: which value.

  Returns:
    A hook for `after_eval`; it raises ValueError where the value isn't there.
  """
  by = {'by': criterion.name} if criterion.given else {}

  def after_eval(host: Host) -> None:
    value = criterion.value(host.metrics)
    if value is None:
      there = {split: sorted(values) for split, values in host.metrics.items()}
      raise ValueError(
        f'config.train.patience={patience} needs {criterion.name}; the '
        f'evaluation has {there or "no split"}'
      )
    notes = host.memory.get('patience', {})
    if notes.get('by') != by.get('by') or 'stale' not in notes:
      notes = {'best': None, 'stale': 0} | by
    if criterion.better(value, notes['best']):
      notes = notes | {'best': value, 'stale': 0}
    else:
      notes = notes | {'stale': notes['stale'] + 1}
    host.memory['patience'] = notes
    host.stop |= notes['stale'] >= patience

  return Hook(after_eval=after_eval)
