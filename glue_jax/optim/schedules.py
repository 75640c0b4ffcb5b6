"""Learning-rate schedules: warm-up, then a decay."""

from typing import Literal

import optax

from glue_jax.config.ranges import Count, NonNegative, Share, checked

Shape = Literal['linear', 'cosine', 'constant']


@checked
def make(
  lr: NonNegative,
  total_steps: Count,
  shape: Shape = 'linear',
  warmup: NonNegative = 0.0,
  final: Share = 0.0,
) -> optax.Schedule:
  """Returns step -> learning rate.

  Args:
    lr: peak value.
    total_steps: steps of the run; the decay ends there.
    shape: 'linear', 'cosine' or 'constant' after the warm-up.
    warmup: share of `total_steps` if below 1, else a number of steps; rises
      linearly from 0.
    final: where a linear or cosine decay ends, as a share of `lr`.

  Raises:
    ValueError: an argument that isn't what its annotation says, or a warm-up
      longer than the run.
  """
  steps = round(warmup * total_steps) if warmup < 1 else int(warmup)
  if steps > total_steps:
    raise ValueError(
      f'config.optimizer.warmup={warmup} is {steps} steps of {total_steps}; '
      'give a share from 0 to 1 or a number of steps within the run'
    )
  rest = max(total_steps - steps, 1)
  decay = {
    'linear': lambda: optax.linear_schedule(lr, lr * final, rest),
    'cosine': lambda: optax.cosine_decay_schedule(lr, rest, final),
    'constant': lambda: optax.constant_schedule(lr),
  }[shape]()
  if steps == 0:
    return decay
  return optax.join_schedules(
    [optax.linear_schedule(0.0, lr, steps), decay], [steps]
  )
