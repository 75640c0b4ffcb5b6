"""Masked spans with the span boundary objective: SpanBERT.

Joshi et al. 2019, arXiv 1907.10529, sections 3.1 and 3.2. Spans of whole words
are masked, until the budget is met: their length in words is geometric with
p = 0.2, from 1 to 10 (3.8 in the mean), the word they begin with uniform over
tokens. 80 / 10 / 10 is drawn once a span. The i-th token of a span from s to e
is predicted twice: by the masked LM's head, and from the tokens that stand
before and behind the span alone,

  y_i = LN(GELU(W2 LN(GELU(W1 [x_{s-1}; x_{e+1}; p_i]))))

p_i a learnt vector of the place in the span, the logits y_i times the word
table. L is the mean over the masked tokens of the sum of both losses.

A span ends where the budget does, before a special token, and before another
span. That there is a bias behind y_i, that it has a width of 200 and that
places beyond 20 are left out is not confirmed; nor is what the authors' code
does where spans meet.

Use it: to pre-train for what is told from spans: questions, coreference.
Costs: as `mlm`, and its logits twice.
Not with: pairs of texts (the paper drops next sentences), decoders, or a
  tokenizer without [MASK]. The boundary head is dropped from what is exported.
"""

import math
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from glue_jax import tree
from glue_jax.config.ranges import Count, NonNegative, OpenShare, Share
from glue_jax.layers import spec
from glue_jax.layers.activations import activation
from glue_jax.layers.dense import dense
from glue_jax.layers.spec import EncoderConfig
from glue_jax.method import Context, Facts, Method, Objective
from glue_jax.objectives import mlm
from glue_jax.objectives.task import cross_entropy

FACTS = Facts(
  small=dict(place_width=4, places=3),
  needs=dict(
    task=dict(name='corpus', kind='language_modeling'),
    data=dict(files='CORPUS'),
  ),
  arms={'masks': dict(boundary_weight=0.0)},
)

BOUNDARY = 'boundary'
Batch = Mapping[str, jax.Array]


class Boundary(nn.Module):
  """Logits of a span's tokens from its neighbours, see the module."""

  config: EncoderConfig
  places: int
  place_width: int

  @nn.compact
  def __call__(
    self, left: jax.Array, right: jax.Array, place: jax.Array, table: jax.Array
  ) -> jax.Array:
    """Maps (B, K, D) twice, (B, K) int and (V, E) to (B, K, V) float32."""
    c = self.config
    init = nn.initializers.normal(c.init_range)
    known = self.param('places', init, (self.places, self.place_width))
    x = jnp.concatenate([left, right, known[place].astype(c.dtype)], axis=-1)
    for i, width in enumerate((c.hidden_size, table.shape[-1])):
      x = activation('gelu')(dense(c, width, name=f'dense_{i}')(x))
      x = spec.part('norm', c.norm)(c.layer_norm_eps, c.dtype, name=f'ln_{i}')(
        x
      )
    bias = self.param('bias', nn.initializers.zeros, (c.vocab_size,))
    words = jnp.einsum(
      'bke,ve->bkv', x, table.astype(x.dtype),
      preferred_element_type=jnp.float32,
    )  # fmt: skip
    return words + bias


def make(
  ctx: Context,
  *,
  rate: OpenShare = 0.15,
  mask_share: Share = 0.8,
  random_share: Share = 0.1,
  stop: OpenShare = 0.2,
  longest: Count = 10,
  boundary_weight: NonNegative = 1.0,
  places: Count = 20,
  place_width: Count = 200,
) -> Objective:
  """Returns the objective, with the boundary head that it brings.

  Args:
    ctx: see `Context`; its model has a masked LM's head.
    rate: share of the tokens to mask.
    mask_share, random_share: of the spans, what becomes [MASK] and what other
      tokens; the rest stays.
    stop, longest: p of the geometric length in words, and the greatest.
    boundary_weight: of the boundary loss; 0 leaves it and its head out.
    places, place_width: tokens of a span that have a vector, and its width;
      tokens beyond them have no boundary loss.

  Raises:
    ValueError: the model has another head, the shares aren't parts of 1, or
      there is no [MASK] token.
  """
  if ctx.model.kind != 'mlm':
    raise ValueError(
      f'objective "mlm_spans" needs the head of a masked language model, found '
      f"{ctx.model.kind!r}; give task.kind='language_modeling' and an encoder"
    )
  mlm.check_masks(ctx, (mask_share, random_share))
  head = Boundary(ctx.model.config, places, place_width)

  def masked(batch, rng):
    return mask_spans(
      rng, batch, rate=rate, mask_id=ctx.tokenizer.mask_id,
      vocab_size=ctx.tokenizer.vocab_size, shares=(mask_share, random_share),
      stop=stop, longest=longest,
    )  # fmt: skip

  def boundary(params, outputs, batch):
    """Sums of each row: losses, and count of the tokens that have one."""
    hidden = outputs['last_hidden']
    sides = (
      jnp.take_along_axis(hidden, batch[side][..., None], axis=1)
      for side in ('left', 'right')
    )
    table = params['encoder']['embeddings']['word']['embedding']
    place = jnp.minimum(batch['place'], places - 1)
    logits = head.apply({'params': params[BOUNDARY]}, *sides, place, table)
    kept = (batch['labels'] >= 0) & (batch['place'] < places)
    kept = kept * batch['weight'][:, None]
    losses = cross_entropy(logits, jnp.maximum(batch['labels'], 0))
    return (losses * kept).sum(-1), kept.sum(-1)

  def loss(apply, params, batch, rng):
    mask_rng, rng = jax.random.split(rng)
    batch = masked(batch, mask_rng)
    outputs = apply(params, batch, train=True, rng=rng)
    words = mlm.score(outputs['logits'], batch)
    total, right, count = (x.sum() for x in words)
    metrics = {'loss': (total, count), 'accuracy': (right, count)}
    if boundary_weight:
      sums = boundary(params, outputs, batch)
      more, seen = (x.sum() for x in sums)
      metrics['boundary_loss'] = (more, seen)
      total += boundary_weight * more
    return total / jnp.maximum(count, 1), metrics

  def predict(apply, params, batch):
    # The same masks at every evaluation, whatever the batch's place.
    batch = masked(batch, jax.random.key(0))
    losses, right, count = mlm.score(apply(params, batch)['logits'], batch)
    return {'loss_sum': losses, 'correct': right, 'loss_count': count}

  if not boundary_weight:
    return Objective(loss, predict)
  return Objective(loss, predict, method=_bring(head, ctx.model.config))


def _bring(head: Boundary, config: EncoderConfig) -> Method:
  """The method that adds the head's leaves, and drops them on export."""

  def add(rng, params):
    table = params['encoder']['embeddings']['word']['embedding']
    side = jnp.zeros((1, 1, config.hidden_size))
    place = jnp.zeros((1, 1), jnp.int32)
    drawn = head.init(rng, side, side, place, table)['params']
    return {**params, BOUNDARY: nn.unbox(drawn)}

  def drop(params: tree.Tree) -> tree.Tree:
    return {name: x for name, x in params.items() if name != BOUNDARY}

  return Method('mlm_spans', surgery=add, export=drop)


def mask_spans(
  rng: jax.Array,
  batch: Batch,
  *,
  rate: float,
  mask_id: int,
  vocab_size: int,
  shares: tuple[float, float],
  stop: float,
  longest: int,
) -> dict[str, jax.Array]:
  """Chooses spans, corrupts them and adds what is asked of them.

  Args:
    rng: typed key.
    batch: input_ids (B, L) and word_ids (B, L), -1 where nothing may be
      chosen (special tokens, padding).
    rate: share of the tokens to choose.
    mask_id, vocab_size: of the tokenizer.
    shares: of the spans, what becomes [MASK] and what other tokens.
    stop, longest: see `make`.

  Returns:
    The batch with corrupted input_ids, and (B, K) each: positions and labels
    as `mlm.masker` has them, left and right (the tokens before and behind the
    span) and place (in the span, from 0).
  """
  ids, words = batch['input_ids'], batch['word_ids']
  length = ids.shape[-1]
  most = mlm.most(rate, length)
  span_rng, token_rng = jax.random.split(rng)
  first, last, luck = _spans(span_rng, words, rate, most, stop, longest)
  other = jax.random.randint(token_rng, ids.shape, 0, vocab_size, ids.dtype)
  to_mask, to_other = luck < shares[0], luck < sum(shares)
  corrupt = jnp.where(to_mask, mask_id, jnp.where(to_other, other, ids))
  chosen = first >= 0
  batch = dict(
    batch,
    input_ids=jnp.where(chosen, corrupt, ids),
    labels=jnp.where(chosen, ids, -100),
  )
  out = mlm.at_chosen(batch, most)
  for name, value in {
    'left': first - 1,
    'right': last + 1,
    'place': jnp.arange(length) - first,
  }.items():
    value = jnp.clip(value, 0, length - 1)
    out[name] = jnp.take_along_axis(value, out['positions'], axis=-1)
  return out


def _spans(rng, words, rate, most, stop, longest):
  """First and last token of each token's span, -1 for none; a number a span.

  Of a try, three numbers in [0, 1) decide: anchor, length, and what becomes of
  the span.
  """
  candidate = words >= 0
  place = jnp.arange(words.shape[-1])
  starts = mlm.unit_starts(words, most)
  unit = jnp.cumsum(starts, -1) - 1
  begins = jax.lax.cummax(jnp.where(starts, place, 0), axis=1)
  count = candidate.sum(-1, keepdims=True)
  order = jnp.argsort(~candidate, axis=-1, stable=True)
  left_over = jnp.maximum(jnp.round(rate * count), 1).astype(jnp.int32)
  stay = 1 - stop

  def at(values, index):
    return jnp.take_along_axis(values, index, axis=-1)

  def one(carry, key):
    first, last, number, left_over = carry
    draw = jax.random.uniform(key, (len(words), 3))
    anchor, size, kind = (draw[:, i : i + 1] for i in range(3))
    anchor = at(order, (anchor * count).astype(jnp.int32))
    # The inverse of the geometric distribution function, cut at `longest`.
    size = jnp.log1p(-size * (1 - stay**longest)) / math.log(stay)
    size = jnp.clip(jnp.ceil(size), 1, longest).astype(jnp.int32)
    begin = at(begins, anchor)
    # What ends it: beyond its words, special, another span's.
    ends = (unit >= at(unit, anchor) + size) | ~candidate | (first >= 0)
    ends = jnp.where(ends & (place >= begin), place, words.shape[-1])
    end = jnp.minimum(ends.min(-1, keepdims=True), begin + left_over)
    fresh = at(candidate & (first < 0), anchor)
    inside = fresh & (place >= begin) & (place < end)
    first = jnp.where(inside, begin, first)
    last = jnp.where(inside, end - 1, last)
    number = jnp.where(inside, kind, number)
    left_over -= inside.sum(-1, keepdims=True)
    return (first, last, number, left_over), None

  none = jnp.full(words.shape, -1, place.dtype)
  # A try in vain hits a span; one that doesn't takes a token at least.
  tries = jax.random.split(rng, most + 4)
  start = (none, none, jnp.zeros(words.shape), left_over)
  (first, last, number, _), _ = jax.lax.scan(one, start, tries)
  return first, last, number
