"""Contrastive sentence vectors: SimCSE's InfoNCE over the global batch.

Gao, Yao and Chen 2021, arXiv 2104.08821, equations 1, 4 and 5, and the code of
the authors. A row's vector is to be nearer to its partner's than to those of
all other rows:

  l_i = -log exp(cos(z_i, z+_i)/T) / sum_j (exp(cos(z_i, z+_j)/T)
                                           + w_ij exp(cos(z_i, z-_j)/T))

Rows of one text (the task's kind is 'sentences', glue_jax/data/
sentence_rows.py) are encoded twice, with two dropout masks (unsupervised); of
two texts, the second is the partner; a third one is a hard negative, for every
row. log w_ij is `hard_weight` for j = i and 0 else. The vector is the family's
pooled one, tanh(dense(h_[CLS])) of BERT. The batch is that of all devices, and
the gradient goes to every row of it; the authors' code stops it at a device's
own rows. Unsupervised models of theirs are used without the pooler's layer;
that is left to who embeds (not confirmed for supervised ones).

Use it: to make an encoder's vectors comparable.
Costs: an encoder's pass for each text of a row, two for rows of one text; B^2
  similarities.
Not with: accumulated micro-batches where the number of others matters: they
  don't see each other, as in the authors' code. Rows of one text need dropout.
  An evaluation compares the rows of data.eval_batch_size, without dropout: of
  rows of one text it says how even the vectors lie, no more.
"""

import jax
import jax.numpy as jnp
import optax

from glue_jax.config.ranges import Number, Positive
from glue_jax.method import Context, Facts, Objective

FACTS = Facts(
  small=dict(symmetric=True),
  needs=dict(
    task=dict(name='texts', kind='sentences'),
    data=dict(files='TRIPLES'),
    # Fresh vectors of narrow models are nearly one, and at this temperature
    # the rounding of a gradient that is zero is above Adam's epsilon.
    model=dict(init_range=0.3),
    optimizer=dict(args=dict(eps=1e-3)),
  ),
  unequal='rows are compared with those of their own micro-batch',
)


def make(
  ctx: Context,
  *,
  temperature: Positive = 0.05,
  hard_weight: Number = 0.0,
  symmetric: bool = False,
) -> Objective:
  """Returns the objective.

  Args:
    ctx: see `Context`; its task is of the kind 'sentences'.
    temperature: T.
    hard_weight: added to the similarity over T of a row with its own hard
      negative.
    symmetric: the mean with the loss of partners that look for their rows.

  Raises:
    ValueError: a task of another kind, or a family without a pooler.
  """
  if ctx.task.kind != 'sentences':
    raise ValueError(
      'objective "simcse" needs task.kind=\'sentences\', found '
      f'{ctx.task.kind!r}'
    )
  if not ctx.model.tables.HEADS['encoder'].pooled:
    raise ValueError(
      f'objective "simcse" needs a pooled vector; {ctx.model.family} has no '
      'pooler, bert has one'
    )
  config = ctx.model.config
  quiet = not (config.dropout or config.attention_dropout)

  def terms(apply, params, batch, **kwargs):
    if batch['input_ids'].shape[1] == 1:
      if quiet and kwargs.get('train'):
        raise ValueError(
          'objective "simcse" on rows of one text tells two dropout masks '
          'apart, and model.dropout and model.attention_dropout are 0'
        )
      batch = _twice(batch)
    texts = batch['input_ids'].shape[1]
    pooled = apply(params, batch, **kwargs)['pooled']
    vectors = pooled.reshape(-1, texts, pooled.shape[-1])
    sides = [vectors[:, i] for i in range(texts)]
    weight = batch['weight']
    losses, right = info_nce(*sides, weight=weight, temperature=temperature,
                             hard_weight=hard_weight)  # fmt: skip
    if symmetric:
      back, _ = info_nce(
        sides[1], sides[0], weight=weight, temperature=temperature
      )
      losses = (losses + back) / 2
    return losses * weight, right * weight, weight

  def loss(apply, params, batch, rng):
    sums = terms(apply, params, batch, train=True, rng=rng)
    total, right, count = (x.sum() for x in sums)
    metrics = {'loss': (total, count), 'accuracy': (right, count)}
    return total / jnp.maximum(count, 1), metrics

  def predict(apply, params, batch):
    losses, right, count = terms(apply, params, batch)
    return {'loss_sum': losses, 'correct': right, 'loss_count': count}

  return Objective(loss, predict)


def info_nce(
  anchors: jax.Array,
  partners: jax.Array,
  negatives: jax.Array | None = None,
  *,
  temperature: float,
  weight: jax.Array | None = None,
  hard_weight: float = 0.0,
) -> tuple[jax.Array, jax.Array]:
  """Losses of rows that look for their partners, see the module.

  Args:
    anchors, partners, negatives: (B, D); row i of each belong together.
    temperature: T.
    weight: (B,), 0 for rows that fill up a batch: they are no one's negatives.
    hard_weight: see `make`.

  Returns:
    (losses, whether the partner is the nearest): (B,) float32 and bool. A row
    of weight 0 has a finite loss that means nothing.
  """
  anchors = _unit(anchors)
  own = jnp.eye(len(anchors), dtype=bool)
  logits = _similar(anchors, partners, temperature)
  if negatives is not None:
    hard = _similar(anchors, negatives, temperature) + hard_weight * own
    logits = jnp.concatenate([logits, hard], axis=-1)
  if weight is not None:
    kept = jnp.tile(own | (weight > 0), (1, logits.shape[-1] // len(own)))
    logits = jnp.where(kept, logits, -jnp.inf)
  labels = jnp.arange(len(anchors))
  losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
  return losses, jnp.argmax(logits, axis=-1) == labels


def _similar(anchors, others, temperature):
  """Cosines over T: (B, B)."""
  return anchors @ _unit(others).T / temperature


def _unit(x):
  x = x.astype(jnp.float32)
  square = jnp.square(x).sum(-1, keepdims=True)
  return x * jax.lax.rsqrt(jnp.maximum(square, 1e-16))


def _twice(batch):
  """Rows of one text as rows of that text twice: dropout tells them apart."""
  doubled = ('input_ids', 'attention_mask', 'token_type_ids')
  return {
    name: jnp.repeat(x, 2, axis=1) if name in doubled else x
    for name, x in batch.items()
  }
