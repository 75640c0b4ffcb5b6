"""A generator replaces every third token; the model classifies what is left.

The smallest thing with two networks that learn and share a table, as ELECTRA.
"""

import dataclasses

import jax
import jax.numpy as jnp

from glue_jax.config.ranges import NonNegative
from glue_jax.method import Companion, Context, Method, Objective
from glue_jax.models import model as models
from glue_jax.objectives import task
from glue_jax.plugs import Apply


def make(
  ctx: Context, *, weight: NonNegative = 1.0, keep: bool = False
) -> Objective:
  """Task loss of the corrupted rows + weight x the generator's loss."""
  plain = task.make(ctx)
  small = dataclasses.replace(ctx.model.config, num_layers=1)
  generator = models.build(ctx.model.family, kind='mlm', config=small)

  def tied(rng, params):
    # The generator reads the model's table.
    encoder = dict(params['generator']['encoder'])
    del encoder['embeddings']
    return params | {'generator': params['generator'] | {'encoder': encoder}}

  def loss(apply, params, batch, rng):
    ids = batch['input_ids']
    chosen = (jnp.arange(ids.shape[1]) % 3 == 1) & (batch['attention_mask'] > 0)
    own = params['generator']
    shared = params['encoder']['embeddings']
    whole = own | {'encoder': own['encoder'] | {'embeddings': shared}}
    logits = apply.companions['generator'](
      whole, batch, train=True, rng=jax.random.fold_in(rng, 1)
    )['logits']
    given = jax.nn.log_softmax(logits)
    there = jnp.take_along_axis(given, ids[..., None], -1)[..., 0]
    count = (chosen * batch['weight'][:, None]).sum()
    total = -(there * chosen * batch['weight'][:, None]).sum()
    guess = jax.lax.stop_gradient(jnp.argmax(logits, -1)).astype(ids.dtype)
    corrupt = batch | {'input_ids': jnp.where(chosen, guess, ids)}
    main, metrics = plain.loss(apply, params, corrupt, rng)
    # Divided as the task's loss is, so that parts of a batch add up.
    rows = jnp.maximum(metrics['loss'][1], 1)
    metrics = metrics | {'generator': (total, count)}
    return main + weight * total / rows, metrics

  beside = Method(
    'replaced',
    companions={'generator': Companion(Apply(generator), keep=keep)},
    surgery=tied,
  )
  return Objective(loss, plain.predict, method=beside)
