"""Learning-rate schedules: warm-up, then a decay.

Of S steps, W of them warm-up, with the peak `lr`:

  linear, cosine      down to `final` over the S - W steps after the warm-up
  polynomial          so too, by (1 - share of these steps)^`power`
  constant            `lr` after the warm-up
  inverse_sqrt        lr sqrt(W / step) after the warm-up (Vaswani et al. 2017,
                      arXiv 1706.03762, eq. 3, its peak given)
  flat_inverse_sqrt   lr sqrt(W / max(step, W)): no rise (T5; Raffel et al.
                      2019, arXiv 1910.10683, 1 / sqrt(max(step, 10^4)))
  product             lr (1 - step / S) min(1, step / W): the decay begins with
                      the first step (ELECTRA's code, arXiv 2003.10555)
  warmup_linear       the same decay, but the warm-up as it would be alone, so
                      that the rate falls from lr to lr (1 - W / S) at its end
                      (DeBERTa's code, arXiv 2006.03654)
"""

from typing import Literal

import jax.numpy as jnp
import optax

from glue_jax.config.ranges import Count, NonNegative, Positive, Share, checked

Shape = Literal[
  'linear',
  'cosine',
  'polynomial',
  'constant',
  'inverse_sqrt',
  'flat_inverse_sqrt',
  'product',
  'warmup_linear',
]


@checked
def make(
  lr: NonNegative,
  total_steps: Count,
  shape: Shape = 'linear',
  warmup: NonNegative = 0.0,
  final: Share = 0.0,
  power: Positive = 1.0,
) -> optax.Schedule:
  """Returns step -> learning rate.

  Args:
    lr: peak value.
    total_steps: steps of the run; the decay ends there.
    shape: see the module.
    warmup: share of `total_steps` if below 1, else a number of steps; rises
      linearly from 0.
    final: where a linear, cosine or polynomial decay ends, as a share of `lr`.
    power: of 'polynomial'.

  Raises:
    ValueError: an argument that isn't what its annotation says or that the
      shape doesn't have, a warm-up longer than the run, or none where the
      shape is made of it.
  """
  steps = round(warmup * total_steps) if warmup < 1 else int(warmup)
  if steps > total_steps:
    raise ValueError(
      f'config.optimizer.warmup={warmup} is {steps} steps of {total_steps}; '
      'give a share from 0 to 1 or a number of steps within the run'
    )
  _check(shape, steps, final, power)
  rest = max(total_steps - steps, 1)
  if shape == 'product':
    rise = optax.linear_schedule(0.0, lr, steps) if steps else lambda _: lr
    return lambda step: rise(step) * jnp.maximum(1 - step / total_steps, 0)
  if shape == 'warmup_linear':
    rise = optax.linear_schedule(0.0, lr, max(steps, 1))
    fall = optax.linear_schedule(lr, 0.0, total_steps)
    return lambda step: jnp.where(step < steps, rise(step), fall(step))
  if shape == 'flat_inverse_sqrt':
    return lambda step: lr * jnp.sqrt(steps / jnp.maximum(step, steps))
  decay = {
    'linear': lambda: optax.linear_schedule(lr, lr * final, rest),
    'cosine': lambda: optax.cosine_decay_schedule(lr, rest, final),
    'polynomial': lambda: optax.polynomial_schedule(
      lr, lr * final, power, rest
    ),
    'constant': lambda: optax.constant_schedule(lr),
    # Its steps begin at the end of the warm-up, and are below 0 within it.
    'inverse_sqrt': lambda: (
      lambda after: lr * jnp.sqrt(steps / (steps + jnp.maximum(after, 0)))
    ),
  }[shape]()
  if steps == 0:
    return decay
  return optax.join_schedules(
    [optax.linear_schedule(0.0, lr, steps), decay], [steps]
  )


def _check(shape, steps, final, power) -> None:
  """Refuses what a shape doesn't have."""
  where = f'config.optimizer.schedule={shape!r}'
  if final and shape not in ('linear', 'cosine', 'polynomial'):
    raise ValueError(f'{where} has no end; leave out final={final}')
  if power != 1 and shape != 'polynomial':
    raise ValueError(
      f"{where} has no power; leave out power={power}, or take 'polynomial'"
    )
  if not steps and shape in ('inverse_sqrt', 'flat_inverse_sqrt'):
    raise ValueError(
      f'{where} decays by its warm-up, which is 0 steps; give optimizer.warmup'
    )
