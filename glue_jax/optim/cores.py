"""optax's optimizers as a config names them, with the ranges of arguments.

Each turns a gradient into a direction; the learning rate and the decay of the
weights come later, in optim/build.py.
"""

import optax

from glue_jax.config.ranges import (
  Count,
  Dtype,
  NonNegative,
  Positive,
  Rate,
  Whole,
)


def adam(
  *,
  b1: Rate = 0.9,
  b2: Rate = 0.999,
  eps: Positive = 1e-8,
  eps_root: NonNegative = 0.0,
  mu_dtype: Dtype | None = None,
  nesterov: bool = False,
) -> optax.GradientTransformation:
  """Returns Adam's direction. Kingma and Ba 2014, arXiv 1412.6980.

  Args:
    b1, b2: decays of the moments m and v.
    eps, eps_root: added to sqrt(v), and to v.
    mu_dtype: of m; None is the gradient's.
    nesterov: look ahead, as NAdam does.
  """
  return optax.scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov)


def sgd(
  *,
  decay: Rate,
  nesterov: bool = False,
  accumulator_dtype: Dtype | None = None,
) -> optax.GradientTransformation:
  """Returns the sum of decayed gradients: momentum.

  Args:
    decay: of the sum; 0 is the gradient itself.
    nesterov: look ahead.
    accumulator_dtype: of the sum; None is the gradient's.
  """
  return optax.trace(decay, nesterov, accumulator_dtype)


def lion(
  *, b1: Rate = 0.9, b2: Rate = 0.99, mu_dtype: Dtype | None = None
) -> optax.GradientTransformation:
  """Returns Lion's sign. Chen et al. 2023, arXiv 2302.06675.

  Args:
    b1, b2: decays of the direction and of the moment.
    mu_dtype: of the moment; None is the gradient's.
  """
  return optax.scale_by_lion(b1, b2, mu_dtype)


def adafactor(
  *,
  factored: bool = True,
  decay_rate: Rate = 0.8,
  step_offset: Whole = 0,
  min_dim_size_to_factor: Count = 128,
  epsilon: Positive = 1e-30,
) -> optax.GradientTransformation:
  """Returns Adafactor's direction. Shazeer and Stern 2018, arXiv 1804.04235.

  Args:
    factored: keep row and column means of the second moment.
    decay_rate: exponent c of its decay, 1 - t^-c.
    step_offset: steps taken before.
    min_dim_size_to_factor: of both dimensions of a matrix that is factored.
    epsilon: added to the squares.
  """
  return optax.scale_by_factored_rms(
    factored, decay_rate, step_offset, min_dim_size_to_factor, epsilon
  )
