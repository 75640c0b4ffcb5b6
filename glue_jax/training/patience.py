"""Early stopping: a hook that ends a run whose loss falls no more."""

from glue_jax.method import Hook, Host


def hook(patience: int) -> Hook:
  """Returns what ends a run once its loss has stopped falling.

  Its notes, `host.memory['patience']`, are the lowest loss so far and how many
  evaluations were made since.

  Args:
    patience: evaluations in a row without a lower loss of the first evaluation
      split after which the run ends.

  Returns:
    A hook for `after_eval`; it raises ValueError where there is no loss to go
    by.
  """

  def after_eval(host: Host) -> None:
    split, values = next(iter(host.metrics.items()), ('', {}))
    if 'loss' not in values:
      raise ValueError(
        f'config.train.patience={patience} needs the loss of the first '
        f'evaluation split; {split or "no split"} has {sorted(values)}'
      )
    notes = host.memory.setdefault('patience', {'best': None, 'stale': 0})
    if notes['best'] is None or values['loss'] < notes['best']:
      notes |= {'best': values['loss'], 'stale': 0}
    else:
      notes['stale'] += 1
    host.stop |= notes['stale'] >= patience

  return Hook(after_eval=after_eval)
