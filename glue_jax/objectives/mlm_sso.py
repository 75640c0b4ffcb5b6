"""Masked language modelling with the sentence-structure objective.

Wang et al. 2019 (StructBERT, arXiv 1908.04577) and PoNet (Tan et al. 2022,
arXiv 2110.02442): the pair's order, of three (glue_jax/data/sentence_pairs.py),
is told from [CLS]; the two cross-entropies are added with equal weight.

Use it: to pre-train where [CLS] shall know of whole texts, as PoNet does.
Costs: as `mlm`; the pairs are cut anew `data.copies` times before training.
Not with: tasks of another kind than 'sentence_structure', or ELECTRA, which has
  no such head.
"""

import jax
import jax.numpy as jnp

from glue_jax.config.ranges import NonNegative, OpenShare, Share
from glue_jax.method import Context, Objective
from glue_jax.objectives import mlm
from glue_jax.objectives.task import cross_entropy


def make(
  ctx: Context,
  *,
  rate: OpenShare = 0.15,
  whole_word: bool = True,
  mask_share: Share = 0.8,
  random_share: Share = 0.1,
  structure_weight: NonNegative = 1.0,
) -> Objective:
  """Returns the objective.

  Args:
    ctx: see `Context`; its task is of the kind 'sentence_structure'.
    rate, whole_word, mask_share, random_share: of the masks, see `mlm`.
    structure_weight: of the order's loss; 0 leaves it out (an ablation).

  Raises:
    ValueError: another kind of task, or as `mlm`.
  """
  if ctx.task.kind != 'sentence_structure':
    raise ValueError(
      f'objective "mlm_sso" needs task.kind=\'sentence_structure\', found '
      f'{ctx.task.kind!r}'
    )
  masked = mlm.masker(ctx, rate, whole_word, (mask_share, random_share))

  def score(apply, params, batch, **kwargs):
    outputs = apply(params, batch, **kwargs)
    order, weight = outputs['structure_logits'], batch['weight']
    return mlm.score(outputs['logits'], batch), (
      cross_entropy(order, batch['order']) * weight,
      (jnp.argmax(order, -1) == batch['order']) * weight,
      weight,
    )

  def renamed(batch, rng):
    # The labels of masked tokens take the name.
    return masked(dict(batch, order=batch['labels']), rng)

  def loss(apply, params, batch, rng):
    mask_rng, rng = jax.random.split(rng)
    words, order = score(
      apply, params, renamed(batch, mask_rng), train=True, rng=rng
    )
    total, right, count = (x.sum() for x in words)
    order_total, order_right, pairs = (x.sum() for x in order)
    metrics = {
      'loss': (total, count),
      'accuracy': (right, count),
      'structure_loss': (order_total, pairs),
      'structure_accuracy': (order_right, pairs),
    }
    value = total / jnp.maximum(count, 1)
    order_value = order_total / jnp.maximum(pairs, 1)
    return value + structure_weight * order_value, metrics

  def predict(apply, params, batch):
    # The same masks at every evaluation, whatever the batch's place.
    words, order = score(apply, params, renamed(batch, jax.random.key(0)))
    return {
      'loss_sum': words[0],
      'correct': words[1],
      'loss_count': words[2],
      'structure_correct': order[1],
      'structure_count': order[2],
    }

  return Objective(loss, predict)
