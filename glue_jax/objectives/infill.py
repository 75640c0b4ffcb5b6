"""Text infilling: BART's pre-training.

Lewis et al. 2020, arXiv 1910.13461, section 2.2, as fairseq's code has it:
spans of whole words, their lengths Poisson(3), are each replaced by one [MASK];
a span of no words puts a [MASK] between two tokens. Of w words ceil(rate w) are
the budget, which the last span is trimmed to. With `permute` the sentences of a
row change places first (BART-large; not confirmed). Special tokens stay where
they are. The target is the row as it was. Noise is drawn anew in every step.

Differs from the code in what rows of a fixed length need: masks that are put in
beyond it are left out (which takes more of them than words are lost).

Use it: to pre-train BART, or to go on with that on a task's domain.
Costs: an encoder and a decoder pass over all tokens, and logits over the
  vocabulary for every one.
Not with: another model than an encoder-decoder, or a tokenizer without [MASK].
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.config.ranges import OpenShare, Positive
from glue_jax.method import Context, Facts, Objective
from glue_jax.objectives import seq2seq_lm
from glue_jax.objectives.seq2seq_lm import packed

FACTS = Facts(
  small={},
  needs=dict(
    task=dict(name='corpus', kind='language_modeling'),
    data=dict(files='CORPUS'),
    model=dict(name='bart'),
  ),
  still=('head/bias',),
)


class Noise(NamedTuple):
  """What is drawn of a batch.

  Attributes:
    lengths: (B, L) int, the spans' lengths in words.
    words: (B, L) float, which words spans begin at: the lowest first.
    places: (B, L) float, where masks are put in: the lowest first.
    sentences: (B, L) float, the order of sentences: the lowest first.
  """

  lengths: jax.Array
  words: jax.Array
  places: jax.Array
  sentences: jax.Array


def make(
  ctx: Context,
  *,
  rate: OpenShare = 0.3,
  mean_length: Positive = 3.0,
  permute: bool = False,
) -> Objective:
  """Returns the objective.

  Args:
    ctx: see `Context`.
    rate: share of the words to replace.
    mean_length: of the spans, in words.
    permute: whether sentences change places.

  Raises:
    ValueError: the model is no encoder-decoder, there is no [MASK] token, or
      no full stop that ends a sentence.
  """
  check(ctx)
  config, tokenizer = ctx.model.config, ctx.tokenizer
  stops = [i for t, i in tokenizer.vocab.items() if t in ('.', 'Ġ.', '▁.')]
  if permute and not stops:
    raise ValueError(
      'config.objective.permute: the tokenizer has no full stop of its own, '
      'so sentences have no end; leave it out'
    )

  def given(batch, rng):
    ids, words = batch['input_ids'], batch['word_ids']
    mask = batch['attention_mask'] != 0
    labels = jnp.where(mask, ids, -100)
    noise = draw(rng, ids.shape, mean_length)
    if permute:
      ids, words = permuted(ids, words, noise.sentences, stops)
    ids, mask = infilled(
      ids, words, mask, noise, rate, tokenizer.mask_id, config.pad_id
    )
    return ids, mask, labels

  return seq2seq_lm.denoising(config, given)


def check(ctx: Context) -> None:
  """Refuses runs in which no span can be replaced by a [MASK].

  Raises:
    ValueError: the model is no encoder-decoder, or there is no [MASK] token.
  """
  seq2seq_lm.check(ctx)
  if ctx.tokenizer.mask_id is None:
    raise ValueError('text infilling needs a tokenizer with a [MASK] token')


def draw(rng: jax.Array, shape: tuple[int, int], mean: float) -> Noise:
  """Draws the noise of a batch of shape (B, L)."""
  keys = jax.random.split(rng, 4)
  lucks = [jax.random.uniform(key, shape) for key in keys]
  # Poisson by its distribution function: the number of bounds passed.
  most = math.ceil(mean + 10 * math.sqrt(mean)) + 10
  terms = [k * math.log(mean) - mean - math.lgamma(k + 1) for k in range(most)]
  bounds = jnp.asarray(np.cumsum(np.exp(terms)), jnp.float32)
  return Noise(jnp.searchsorted(bounds, lucks[0]), *lucks[1:])


def permuted(
  ids: jax.Array, words: jax.Array, luck: jax.Array, stops: list[int]
) -> tuple[jax.Array, jax.Array]:
  """Returns ids and word numbers with the sentences in another order.

  A sentence ends with a full stop, or with the text.

  Args:
    ids: (B, L).
    words: (B, L), -1 at special tokens and padding, which stay.
    luck: (B, L); a sentence comes where the number of its place among the
      sentences puts it.
    stops: ids of full stops.
  """
  text = words >= 0
  stop = jnp.isin(ids, jnp.asarray(stops)) & text
  before = jnp.pad(stop, ((0, 0), (1, 0)))[:, :-1]
  # The first of several stops ends a sentence, the others begin the next.
  ends = before & ~jnp.pad(before, ((0, 0), (1, 0)))[:, :-1]
  sentence = jnp.cumsum(ends, -1)
  key = jnp.where(text, jnp.take_along_axis(luck, sentence, -1), jnp.inf)
  order = jnp.argsort(key, -1, stable=True)
  # The k-th place of text gets the k-th token of the new order.
  place = jnp.maximum(jnp.cumsum(text, -1) - 1, 0)
  moved = jnp.take_along_axis(order, place, -1)
  stay = jnp.arange(ids.shape[1])
  source = jnp.where(text, moved, stay)
  new = jnp.take_along_axis(words, source, -1)
  return jnp.take_along_axis(ids, source, -1), new


def infilled(
  ids: jax.Array,
  words: jax.Array,
  mask: jax.Array,
  noise: Noise,
  rate: float,
  mask_id: int,
  pad_id: int,
) -> tuple[jax.Array, jax.Array]:
  """Returns corrupted ids and their mask: twice (B, L).

  Args:
    ids: (B, L).
    words: (B, L) number of each token's word, -1 at special tokens.
    mask: (B, L) bool, True = real token.
    noise: see `Noise`.
    rate: see `make`.
    mask_id, pad_id: of the tokenizer.
  """
  rows, length = jnp.arange(len(ids))[:, None], ids.shape[1]
  text = words >= 0
  before = jnp.pad(words, ((0, 0), (1, 0)), constant_values=-2)[:, :-1]
  begins = text & (words != before)
  word = jnp.cumsum(begins, -1) - 1  # from 0 in each row
  total = begins.sum(-1, keepdims=True)
  spans, inserts = _spans(noise, total, rate)
  # (B, L) by word: where the spans that began earlier end.
  number = jnp.arange(length)
  reach = jax.lax.cummax(jnp.where(spans > 0, number + spans, 0), axis=1)
  earlier = jnp.pad(reach, ((0, 0), (1, 0)))[:, :-1]
  inside, starts = number < earlier, (spans > 0) & (number < total)
  at = jnp.maximum(word, 0)
  inside, starts = inside[rows, at] & text, starts[rows, at] & text
  one = starts & begins & ~inside
  kept = mask & ~(inside | (starts & ~begins))
  ids = packed(jnp.where(one, mask_id, ids), kept, length, pad_id)
  count = kept.sum(-1, keepdims=True)
  return _put_in(ids, count, inserts, noise.places, mask_id, pad_id)


def _spans(noise, total, rate):
  """Spans by the word they begin at (B, L), and how many masks to put in."""
  lengths, length = noise.lengths, noise.lengths.shape[1]
  budgets = np.ceil(rate * np.arange(length + 1)).astype(int)
  wanted = jnp.asarray(budgets)[total]
  sums = jnp.cumsum(lengths, -1)
  used = (sums - lengths) < wanted
  # The last span is cut where the budget ends.
  lengths = jnp.where(used, lengths - jnp.maximum(sums - wanted, 0), 0)
  inserts = (used & (lengths == 0)).sum(-1, keepdims=True)
  number = jnp.arange(length)
  luck = jnp.where(number < total, noise.words, jnp.inf)
  rank = jnp.argsort(jnp.argsort(luck, -1), -1)
  # The k-th span that isn't empty begins at the word of rank k.
  own = packed(lengths, lengths > 0, length, 0)
  spans = jnp.take_along_axis(own, rank, -1)
  return jnp.where(number < total, spans, 0), inserts


def _put_in(ids, count, inserts, luck, mask_id, pad_id):
  """Puts so many masks between the first and the last of `count` tokens."""
  length = ids.shape[1]
  inserts = jnp.clip(inserts, 0, length - count)
  after = count + inserts
  number = jnp.arange(length)
  inner = (number > 0) & (number < after - 1)
  rank = jnp.argsort(jnp.argsort(jnp.where(inner, luck, jnp.inf), -1), -1)
  new = inner & (rank < inserts)
  source = jnp.clip(number - jnp.cumsum(new, -1), 0, length - 1)
  moved = jnp.where(new, mask_id, jnp.take_along_axis(ids, source, -1))
  real = number < after
  return jnp.where(real, moved, pad_id), real
