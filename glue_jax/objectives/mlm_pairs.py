"""Masked language modelling with a question about a pair of texts.

Two cross-entropies are added: of the masked tokens, and of what the pair is,
told from [CLS]. Which question, the kind of the task says
(glue_jax/data/sentence_pairs.py):

  next_sentence       does B follow A? BERT (Devlin et al. 2018, arXiv
                      1810.04805, section 3.1, task 2)
  sentence_order      are A and B in order? ALBERT (Lan et al. 2019, arXiv
                      1909.11942, section 3.1)
  sentence_structure  is B next, before, or of another text? StructBERT (Wang et
                      al. 2019, arXiv 1908.04577), also as `mlm_sso`

Use it: to pre-train where [CLS] shall know of whole texts.
Costs: as `mlm`; the pairs are cut anew `data.copies` times before training.
Not with: tasks of another kind, or ELECTRA and other families without a head
  for pairs. RoBERTa and SpanBERT found next sentences of no use.
"""

from collections.abc import Callable, Collection

import jax
import jax.numpy as jnp

from glue_jax.config.ranges import Count, NonNegative, OpenShare, Share
from glue_jax.data.tasks.task import PAIR_KINDS
from glue_jax.method import Context, Facts, Objective
from glue_jax.objectives import mlm
from glue_jax.objectives.task import cross_entropy

FACTS = Facts(
  small={},
  needs=dict(
    task=dict(name='corpus', kind='next_sentence'),
    data=dict(files='CORPUS'),
  ),
)


def make(
  ctx: Context,
  *,
  rate: OpenShare = 0.15,
  whole_word: bool = True,
  ngrams: Count = 1,
  mask_share: Share = 0.8,
  random_share: Share = 0.1,
  pair_weight: NonNegative = 1.0,
) -> Objective:
  """Returns the objective.

  Args:
    ctx: see `Context`.
    rate, whole_word, ngrams, mask_share, random_share: of the masks, see `mlm`.
    pair_weight: of the pair's loss; 0 leaves it out (an ablation).

  Raises:
    ValueError: a task of another kind, or as `mlm`.
  """
  check_kind(ctx, 'mlm_pairs', PAIR_KINDS)
  masked = mlm.masker(ctx, rate, whole_word, (mask_share, random_share), ngrams)
  return of_masked(masked, pair_weight)


def check_kind(ctx: Context, name: str, kinds: Collection[str]) -> None:
  """Refuses a task of another kind.

  Raises:
    ValueError: names the objective, what was found and what is expected.
  """
  if ctx.task.kind not in kinds:
    wanted = ' or '.join(map(repr, kinds))
    raise ValueError(
      f'objective "{name}" needs task.kind={wanted}, found {ctx.task.kind!r}'
    )


def of_masked(masked: Callable, pair_weight: float) -> Objective:
  """Returns the objective.

  Args:
    masked: (batch, rng) -> masked batch, see `mlm.masker`.
    pair_weight: see `make`.
  """

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
    return value + pair_weight * order_value, metrics

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

  return Objective(loss, predict, terms={'structure_loss': pair_weight})
