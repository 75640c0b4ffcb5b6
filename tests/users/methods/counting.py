"""What rows count for, and the head's bias, are set by the first batches.

The bias is the labels' log share; a row weighs as its tokens, shared out by
their mean.
"""

import jax
import jax.numpy as jnp

from glue_jax import tree
from glue_jax.method import Context, Facts, Method

FACTS = Facts(small={})
BIAS = 'head/out/bias'


def make(ctx: Context) -> Method:
  classes = len(ctx.task.labels)

  @jax.jit
  def counts(batch):
    hot = jax.nn.one_hot(batch['labels'], classes) * batch['weight'][:, None]
    tokens = batch['attention_mask'].sum(-1) * batch['weight']
    return jnp.append(hot.sum(0), tokens.sum())

  @jax.jit
  def values(total):
    labels, tokens = total[:-1], total[-1]
    return jnp.log(labels / labels.sum()), tokens / labels.sum()

  def calibrate(apply, params, batches):
    bias, mean = values(sum(map(counts, batches())))
    flat = tree.flatten(params)
    assert set(apply.extra) == {'tokens'} and not flat[BIAS].any()
    return tree.unflatten(flat | {BIAS: bias}), {'tokens': mean}

  def prepare(apply, params, batch, rng):
    share = batch['attention_mask'].sum(-1) / apply.extra['tokens']
    return batch | {'weight': batch['weight'] * share}

  return Method(
    'counting',
    init_extra=lambda rng, params: {'tokens': jnp.zeros(())},
    calibrate=calibrate,
    prepare=prepare,
  )
