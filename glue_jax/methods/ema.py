"""Exponential moving average of the weights, which is what predicts.

Maths: optim/weight_average.py. Training itself is that without it. Evaluations,
the best checkpoint, predictions and every export are of the average; a leaf
that another method keeps from learning for a while keeps its average, too. With
LoRA and its like the factors are averaged, not the backbone.

Use it: for a steadier score at the end of a short or noisy training.
Costs: a copy of what learns, in float32, and one pass over it a step.
Not with: nothing; a method that reads the parameters while it trains
  (bootstrapping) reads those of the last step.
"""

import optax

from glue_jax.config.ranges import Rate
from glue_jax.method import Context, Facts, Method
from glue_jax.optim import weight_average

FACTS = Facts(small=dict(decay=0.5), identity=True)


def make(ctx: Context, *, decay: Rate = 0.999, warmup: bool = True) -> Method:
  """Returns the method.

  Args:
    ctx: see `Context`.
    decay: of the average, a step; 0 = the parameters themselves.
    warmup: the decay rises to it, min(decay, (1 + t) / (10 + t)) after t
      updates; False = it holds from the first update on.
  """
  del ctx

  def wrap_tx(tx):
    return optax.chain(tx, weight_average.track(decay, warmup))

  def evaluates(params, slots):
    return weight_average.averaged(params, slots, decay, warmup)

  return Method('ema', wrap_tx=wrap_tx, evaluates=evaluates)
