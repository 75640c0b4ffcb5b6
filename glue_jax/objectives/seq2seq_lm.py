"""Text from text: the decoder's loss of every token of a target.

The decoder is given the target one place later, after its start token (Vaswani
et al. 2017, arXiv 1706.03762, section 3.1); the loss is the mean over all
tokens of the targets of the batch.

Rows with `labels` of their own have those as targets. Plain text is split, at a
place that every step draws anew: the encoder reads what is before it, the
target is the rest (prefix language modelling; Raffel et al. 2020, arXiv
1910.10683, section 3.2.3). BART and T5 pre-train with `infill` and
`span_corruption`, which are made of this one.

Use it: to tune an encoder-decoder to write, or to pre-train one by the simplest
  way.
Costs: logits over the vocabulary for every token of a target.
Not with: an encoder or a decoder alone.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from glue_jax.config.ranges import Rate
from glue_jax.layers.spec import EncoderConfig
from glue_jax.method import Context, Facts, Objective
from glue_jax.models import stack
from glue_jax.objectives.task import cross_entropy

Batch = Mapping[str, jax.Array]
Made = tuple[jax.Array, jax.Array, jax.Array]

FACTS = Facts(
  small={},
  needs=dict(
    task=dict(name='corpus', kind='language_modeling'),
    data=dict(files='CORPUS'),
    model=dict(name='bart'),
  ),
  still=('head/bias',),
)


def make(ctx: Context, *, label_smoothing: Rate = 0.0) -> Objective:
  """Returns the objective.

  Args:
    ctx: see `Context`.
    label_smoothing: share of a target spread over the vocabulary.

  Raises:
    ValueError: the model is no encoder-decoder that writes.
  """
  check(ctx)
  config = ctx.model.config

  def given(batch, rng):
    if batch.get('labels') is not None and batch['labels'].ndim == 2:
      return batch['input_ids'], batch['attention_mask'], batch['labels']
    tokens, count = text(batch)
    return split(rng, tokens, count, config)

  return denoising(config, given, label_smoothing)


def check(ctx: Context) -> None:
  """Refuses models that write no text from text.

  Raises:
    ValueError: names the model and its head.
  """
  if ctx.model.kind != 'seq2seq_lm':
    raise ValueError(
      f'config.objective: text from text needs an encoder-decoder; model.name='
      f'{ctx.model.family!r} with the head {ctx.model.kind!r} is none'
    )


def denoising(
  config: EncoderConfig,
  given: Callable[[Batch, jax.Array], Made],
  label_smoothing: float = 0.0,
) -> Objective:
  """Returns the objective of what a function makes of a batch.

  Args:
    config: of the model.
    given: (batch, rng) -> input ids (B, L), their mask (B, L) and targets
      (B, T), negative where there is none.
    label_smoothing: see `make`.
  """

  def scored(apply, params, batch, made, **how):
    ids, mask, labels = made
    before = stack.shifted(labels, config)
    rows = {'input_ids': ids, 'attention_mask': mask}
    logits = apply(params, rows | {'decoder_input_ids': before}, **how)
    smoothing = label_smoothing if how else 0.0
    return score(logits['logits'], labels, batch['weight'], smoothing)

  def loss(apply, params, batch, rng):
    noise, rng = jax.random.split(rng)
    sums = scored(
      apply, params, batch, given(batch, noise), train=True, rng=rng
    )
    total, right, count = (x.sum() for x in sums)
    metrics = {'loss': (total, count), 'accuracy': (right, count)}
    return total / jnp.maximum(count, 1), metrics

  def predict(apply, params, batch):
    # The same noise at every evaluation, whatever the batch's place.
    made = given(batch, jax.random.key(0))
    losses, right, count = scored(apply, params, batch, made)
    return {'loss_sum': losses, 'correct': right, 'loss_count': count}

  return Objective(loss, predict)


def score(
  logits: jax.Array, labels: jax.Array, weight: jax.Array, smoothing: float = 0
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Sums of each row (B,): losses, right guesses and count of targets.

  Args:
    logits: (B, T, V).
    labels: (B, T), negative where there is no target.
    weight: (B,) of the rows.
    smoothing: share of a target spread over the vocabulary.
  """
  kept = (labels >= 0) * weight[:, None]
  labels = jnp.maximum(labels, 0)
  losses = cross_entropy(logits, labels, smoothing) * kept
  right = (jnp.argmax(logits, -1) == labels) * kept
  return losses.sum(-1), right.sum(-1), kept.sum(-1)


def text(batch: Batch) -> tuple[jax.Array, jax.Array]:
  """Returns a batch's tokens without special ones, and how many: (B, L), (B,).

  Args:
    batch: input_ids and word_ids (B, L), -1 at special tokens and padding.
  """
  real = batch['word_ids'] >= 0
  ids = packed(batch['input_ids'], real, real.shape[1], 0)
  return ids, real.sum(-1)


def packed(
  values: jax.Array, keep: jax.Array, width: int, fill: int
) -> jax.Array:
  """Returns what is kept of each row, side by side from its start.

  Args:
    values: (B, L) int.
    keep: (B, L) bool; no more than `width` of a row.
    width: W of the result.
    fill: what stands behind.

  Returns:
    (B, W).
  """
  places = jnp.where(keep, jnp.cumsum(keep, -1) - 1, width)
  rows = jnp.arange(len(values))[:, None]
  out = jnp.full((len(values), width), fill, values.dtype)
  return out.at[rows, places].set(values, mode='drop')


def ended(
  values: jax.Array, keep: jax.Array, width: int, end_id: int, pad_id: int
) -> tuple[jax.Array, jax.Array]:
  """Returns what is kept with an end token, and its mask: twice (B, W).

  Args:
    values, keep: see `packed`.
    width: W, with room for the end token.
    end_id, pad_id: of the model.
  """
  last = ((0, 0), (0, 1))
  values = jnp.pad(values, last, constant_values=end_id)
  keep = jnp.pad(keep, last, constant_values=True)
  real = jnp.arange(width) < keep.sum(-1, keepdims=True)
  return packed(values, keep, width, pad_id), real


def split(
  rng: jax.Array, tokens: jax.Array, count: jax.Array, config: EncoderConfig
) -> Made:
  """Splits rows in two: input ids, mask (B, L + 1) and targets (B, L + 1).

  Args:
    rng: typed key.
    tokens: (B, L) text.
    count: (B,) how many of them are real.
    config: `end_id` and `pad_id` are read.
  """
  luck = jax.random.uniform(rng, (len(tokens), 1))
  point = 1 + jnp.floor(luck * (count[:, None] - 1)).astype(jnp.int32)
  place, width = jnp.arange(tokens.shape[1]), tokens.shape[1] + 1
  real = place < count[:, None]
  ends = config.end_id, config.pad_id
  ids, mask = ended(tokens, real & (place < point), width, *ends)
  rest, wanted = ended(tokens, real & (place >= point), width, *ends)
  return ids, mask, jnp.where(wanted, rest, -100)
