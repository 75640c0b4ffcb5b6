"""Optimizers as a config names them, with the ranges of their arguments.

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
from glue_jax.optim import adam as plain_moments


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


def bert_adam(
  *, b1: Rate = 0.9, b2: Rate = 0.999, eps: Positive = 1e-6
) -> optax.GradientTransformation:
  """Returns m / (sqrt(v) + eps) of uncorrected moments: BERT's Adam.

  Devlin et al. 2018, arXiv 1810.04805, as its code and ELECTRA's have it
  (`AdamWeightDecayOptimizer`). The first steps are larger than Adam's: for a
  steady gradient by (1 - b1) / sqrt(1 - b2), 3.2 as published.

  Args:
    b1, b2: decays of the moments m and v.
    eps: added to sqrt(v).
  """
  return plain_moments.scale_by_adam(b1, b2, eps, corrected=False)


def lamb(
  *,
  b1: Rate = 0.9,
  b2: Rate = 0.999,
  eps: Positive = 1e-6,
  bias_correction: bool = True,
) -> optax.GradientTransformation:
  """Returns LAMB's direction. You et al. 2019, arXiv 1904.00962, algorithm 2.

  That is Adam's; what makes it LAMB, the trust ratio |w| / |u| of each leaf,
  comes after the decay, see `build.ADAPTED`.

  Args:
    b1, b2: decays of the moments m and v.
    eps: added to sqrt(v).
    bias_correction: of the moments, as in the paper; ALBERT's code has none.
  """
  if bias_correction:
    return optax.scale_by_adam(b1, b2, eps)
  return bert_adam(b1=b1, b2=b2, eps=eps)


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
  clip_rms: Positive | None = None,
  least_scale: Positive | None = None,
) -> optax.GradientTransformation:
  """Returns Adafactor's direction. Shazeer and Stern 2018, arXiv 1804.04235.

  Alone it is the factored second moment (section 3). The whole of algorithm 4,
  as T5 was trained with it, is

    optimizer=dict(
      name='adafactor', lr=1e-2, schedule='flat_inverse_sqrt', warmup=10_000,
      weight_decay=0.0, clip_norm=None,
      args=dict(clip_rms=1.0, least_scale=1e-3),
    )

  A decay of weights is not scaled by `least_scale`'s factor, other than in
  `transformers`.

  Args:
    factored: keep row and column means of the second moment.
    decay_rate: exponent c of its decay, 1 - t^-c.
    step_offset: steps taken before.
    min_dim_size_to_factor: of both dimensions of a matrix that is factored;
      1 in `transformers`.
    epsilon: added to the squares.
    clip_rms: largest root mean square of a leaf's direction (published: 1);
      None = no clipping.
    least_scale: makes steps relative: a leaf's direction is times the root
      mean square of its weights, but at least this (published: 1e-3); None =
      steps are absolute.
  """
  parts = [
    optax.scale_by_factored_rms(
      factored, decay_rate, step_offset, min_dim_size_to_factor, epsilon
    )
  ]
  if clip_rms is not None:
    parts.append(optax.clip_by_block_rms(clip_rms))
  if least_scale is not None:
    parts.append(optax.scale_by_param_block_rms(least_scale))
  # One part alone keeps the state that older checkpoints hold.
  return parts[0] if len(parts) == 1 else optax.chain(*parts)
