"""Self-evolution: masked words that the model is unsure of, softened labels.

Zhong et al. 2023, arXiv 2305.15275, and its code; what Vega v2 (arXiv
2212.01853) is pre-trained by. A trained model first reads the corpus unmasked
and notes the tokens i that it finds hard, -log p(x_i | x) > T (`launch.probe
score-tokens`, data/hard_tokens.py). It is then trained on: all of a row's hard
tokens S become [MASK], and each is to be predicted as

  y_i = (1 - lambda) onehot(x_i) + lambda r_i

where r_i is what the model itself says, now, of the unmasked row, without
dropout and without gradient. The loss is the mean over S of -y_i log p(x'_i).
Rows without a hard token are masked at random as masked LMs do, with labels of
the same form. So that shapes are static, a row's hardest tokens are taken up to
a share of its own; the published code has no such limit.

Not as in that code: special tokens are never hard; a row of one hard token has
one (there it is masked at random besides); the sum is divided by the chosen
tokens (there by all tokens of the batch: `normalise`).

Use it: to go on with a masked LM on a corpus that it knows in part.
Costs: one pass over the corpus before; a forward pass without gradient more
  than a masked LM a step. Tokens that are easy are no longer asked for, and
  forgotten (launch/miniatures/vega_v2.py shows how much).
Not with: a tokenizer without [MASK]. An evaluation is that of a masked LM: of
  words drawn at random, with hard labels.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from glue_jax import tree
from glue_jax.config.ranges import OpenShare, Share
from glue_jax.data import hard_tokens
from glue_jax.method import (
  Companion,
  Context,
  Facts,
  Hook,
  Host,
  Method,
  Objective,
)
from glue_jax.models import model as models
from glue_jax.objectives import mlm
from glue_jax.objectives.mlm import Batch
from glue_jax.objectives.task import cross_entropy

FACTS = Facts(
  small={},
  needs=dict(
    task=dict(name='corpus', kind='language_modeling'),
    data=dict(files='CORPUS', train_limit=48, hard_tokens='HARD'),
  ),
  arms={'tokens': dict(normalise='tokens', smoothing=0.5)},
)

REFERENCE = 'reference'
Metric = Literal['loss', 'correctness']


def make(
  ctx: Context,
  *,
  smoothing: Share = 0.1,
  most: OpenShare = 0.2,
  rate: OpenShare = 0.15,
  normalise: Literal['chosen', 'tokens'] = 'chosen',
  reference: str = '',
) -> Objective:
  """Returns the objective.

  Args:
    ctx: see `Context`.
    smoothing: lambda.
    most: share of a row's tokens that are masked at most, the hardest.
    rate: share of those of a row without any; 80 % become [MASK], 10 % another
      token. Of evaluations too.
    normalise: what the sum is divided by, see the module.
    reference: another masked LM (a folder or `'stage:<name>'`) that gives r_i
      in place of the model itself; '' = itself.

  Raises:
    ValueError: there is no [MASK] token, or no such reference.
  """
  shares = (0.8, 0.1)
  at_random = mlm.masker(ctx, rate, False, shares)
  masked = masker(ctx, most, rate)

  def loss(apply, params, batch, rng):
    mask_rng, rng = jax.random.split(rng)
    hidden, plain = masked(batch, mask_rng)
    logits = apply(params, hidden, train=True, rng=rng)['logits']
    if reference:
      said = apply.companions[REFERENCE](apply.frozen[REFERENCE], plain)
    else:
      said = apply(jax.lax.stop_gradient(params), plain)
    losses = smoothed(logits, said['logits'], hidden['labels'], smoothing)
    chosen = (hidden['labels'] >= 0) * batch['weight'][:, None]
    hard, right, count = (x.sum() for x in mlm.score(logits, hidden))
    total, over = (losses * chosen).sum(), count
    if normalise == 'tokens':
      over = (batch['attention_mask'] * batch['weight'][:, None]).sum()
    rows = (ranks(batch) > 0).any(-1) * batch['weight']
    return total / jnp.maximum(over, 1), {
      'loss': (total, over),
      'masked_loss': (hard, count),
      'accuracy': (right, count),
      'rows_with_hard_tokens': (rows.sum(), batch['weight'].sum()),
    }

  def predict(apply, params, batch):
    # The same masks at every evaluation, whatever the batch's place.
    batch = at_random(batch, jax.random.key(0))
    losses, right, count = mlm.score(apply(params, batch)['logits'], batch)
    return {'loss_sum': losses, 'correct': right, 'loss_count': count}

  beside = {}
  if reference:
    beside[REFERENCE] = Companion(*ctx.load(reference), learns=False)
  plain = frozenset(models.shapes(ctx.model))
  brought = Method(
    'self_evolution', companions=beside, hooks=(same_model(plain),)
  )
  columns = (hard_tokens.COLUMN,)
  return Objective(loss, predict, method=brought, columns=columns)


def masker(
  ctx: Context, most: float, rate: float
) -> Callable[[Batch, jax.Array], tuple[Batch, Batch]]:
  """Returns (batch, rng) -> (masked batch, the same places unmasked).

  positions and labels are (B, K), see `mlm.masker`; K is the larger of the two
  shares of a row's length.

  Args:
    ctx: see `Context`.
    most, rate: see `make`.
  """
  mask_id, vocab_size = ctx.tokenizer.mask_id, ctx.tokenizer.vocab_size

  def masked(batch, rng):
    ids = batch['input_ids']
    drawn = mlm.mask_tokens(
      rng, batch, rate=rate, mask_id=mask_id, vocab_size=vocab_size,
      whole_word=False, shares=(0.8, 0.1),
    )  # fmt: skip
    hard = hardest(batch, most)
    some = hard.any(-1, keepdims=True)
    hidden = jnp.where(hard, mask_id, ids)
    labels = jnp.where(hard, ids, -100)
    chosen = dict(
      batch,
      input_ids=jnp.where(some, hidden, drawn['input_ids']),
      labels=jnp.where(some, labels, drawn['labels']),
    )
    chosen = mlm.at_chosen(chosen, mlm.most(max(most, rate), ids.shape[-1]))
    return chosen, batch | {'positions': chosen['positions']}

  return masked


def ranks(batch: Batch) -> jax.Array:
  """Ranks of a batch's hard tokens (B, L); 0 where none were looked for."""
  candidate = batch['word_ids'] >= 0
  return batch.get(hard_tokens.COLUMN, 0) * candidate


def hardest(batch: Batch, most: float) -> jax.Array:
  """Returns (B, L) bool: the hard tokens of each row, up to a share of it.

  Args:
    batch: word_ids and, of rows whose tokens were scored, hard (B, L).
    most: share of a row's words' tokens; at least one token.
  """
  rank, words = ranks(batch), batch['word_ids'] >= 0
  budget = jnp.maximum(jnp.round(most * words.sum(-1, keepdims=True)), 1)
  return (rank > 0) & (rank <= budget)


def questioned(logits: jax.Array, ids: jax.Array, mask: jax.Array) -> jax.Array:
  """Self-questioning: -log p(x_i | x) of unmasked tokens, 0 at padding.

  Args:
    logits: (B, L, V).
    ids, mask: (B, L).

  Returns:
    (B, L) float32.
  """
  return cross_entropy(logits, ids) * mask


def unsure(
  logits: jax.Array,
  ids: jax.Array,
  mask: jax.Array,
  threshold: float = 0.1,
  metric: Metric = 'loss',
) -> jax.Array:
  """Returns (B, L) bool: the tokens that a model is unsure of, S.

  Args:
    logits: (B, L, V), of the unmasked rows.
    ids: (B, L).
    mask: (B, L), 1 where a token may be hard.
    threshold: T of the losses (published: 0.1).
    metric: 'loss', or 'correctness': another token is the likeliest (named in
      the paper, not in the code).
  """
  if metric == 'correctness':
    return (jnp.argmax(logits, -1) != ids) & (mask > 0)
  return questioned(logits, ids, mask) > threshold


def smoothed(
  logits: jax.Array, reference: jax.Array, labels: jax.Array, smoothing: float
) -> jax.Array:
  """Cross-entropy with labels mixed with a reference's distribution.

  Args:
    logits: (..., V).
    reference: logits (..., V) of what the labels are mixed with; no gradient
      flows into it.
    labels: (...) ids; what is negative gives a number that means nothing.
    smoothing: lambda.

  Returns:
    (...) float32.
  """
  ours = jax.nn.log_softmax(logits.astype(jnp.float32))
  soft = jax.nn.softmax(jax.lax.stop_gradient(reference).astype(jnp.float32))
  own = jnp.take_along_axis(ours, jnp.maximum(labels, 0)[..., None], axis=-1)
  mixed = (1 - smoothing) * own[..., 0] + smoothing * (soft * ours).sum(-1)
  return -mixed


def same_model(names: frozenset[str]) -> Hook:
  """Refuses to begin without hard tokens, or with those of another model.

  Args:
    names: of the plain model's leaves.
  """

  def check(host: Host) -> None:
    if host.step:
      return
    theirs = host.train_data.examples.scored_by
    if not theirs:
      raise ValueError(
        'objective "self_evolution" needs the hard tokens of its corpus: run '
        'launch.probe score-tokens on this config, then give '
        'config.data.hard_tokens=FILE'
      )
    leaves = tree.flatten(host.state.all_params())
    ours = hard_tokens.digest({n: x for n, x in leaves.items() if n in names})
    if ours != theirs:
      raise ValueError(
        f'config.data.hard_tokens: another model was unsure of these (hash '
        f'{theirs[:12]}..., this one {ours[:12]}...); start from the weights '
        'that scored them, or run launch.probe score-tokens on this config'
      )

  return Hook(before_epoch=check)
