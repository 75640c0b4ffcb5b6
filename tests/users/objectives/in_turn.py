"""The backbone learns the task; the head then also what it said before that."""

import jax.numpy as jnp

from glue_jax.method import Objective, Phase
from glue_jax.objectives import task


def make(ctx, *, repeat: int = 1) -> Objective:
  whole = task.make(ctx)

  def backbone(apply, params, batch, rng):
    said = apply(params, batch)['logits']
    return *whole.loss(apply, params, batch, rng), {'said': said}

  def head(apply, params, batch, rng):
    total, metrics = whole.loss(apply, params, batch, rng)
    logits, weight = apply(params, batch)['logits'], batch['weight']
    apart = (((logits - batch['said']) ** 2).sum(-1) * weight).sum()
    count = weight.sum()
    total += apart / jnp.maximum(count, 1)
    metrics['loss'] = (total * count, count)
    return total, metrics | {'apart': (apart, count)}, {}

  return Objective(
    whole.loss,
    whole.predict,
    phases={
      'backbone': Phase(backbone, ('(?!head/).*',), repeat),
      'head': Phase(head, ('head/.*',)),
    },
  )
