"""Span corruption: T5's pre-training.

Raffel et al. 2020, arXiv 1910.10683, section 3.1.4, as its code has it: spans
of a row's tokens are left out, a sentinel stands for each in the input, and the
target is what was left out, a sentinel before each piece. Of n tokens
round(rate n) are noise (at least one, at most n - 1), in
max(1, round(noise / mean_length)) spans; the lengths of the spans, and of what
is between them, are uniform random partitions. A row begins with text and ends
with noise. Sentinels count down; an end token closes both sides. Noise is drawn
anew in every step. Special tokens of the rows are left out.

A row of `data.max_length` tokens gives an input and a target that are shorter:
T5 takes 568 tokens for inputs of 512 and targets of 114.

Use it: to pre-train T5, or to go on with that on a task's domain.
Costs: an encoder pass over most of the tokens and a decoder pass over a fifth;
  logits over the vocabulary for the latter.
Not with: another model than an encoder-decoder, or a vocabulary without
  sentinels: tokens `<extra_id_0>` and on, or rows of the word table beyond the
  tokenizer's (`model.vocab_size`), the last of which is the first sentinel.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.config.ranges import OpenShare, Positive
from glue_jax.layers.spec import EncoderConfig
from glue_jax.method import Context, Facts, Objective
from glue_jax.objectives import seq2seq_lm
from glue_jax.objectives.seq2seq_lm import ended

FACTS = Facts(
  small={},
  needs=dict(
    task=dict(name='corpus', kind='language_modeling'),
    data=dict(files='CORPUS'),
    model=dict(
      name='t5', vocab_size=140,
      activation_dropout=0.0, final_dropout=0.0,
    ),
  ),
)  # fmt: skip


def make(
  ctx: Context, *, rate: OpenShare = 0.15, mean_length: Positive = 3.0
) -> Objective:
  """Returns the objective.

  Args:
    ctx: see `Context`.
    rate: share of the tokens to leave out.
    mean_length: of the spans, in tokens.

  Raises:
    ValueError: the model is no encoder-decoder, or there are too few sentinels
      for the rows' length (when the loss is traced).
  """
  seq2seq_lm.check(ctx)
  run = corrupter(ctx, rate, mean_length)

  def given(batch, rng):
    return run(rng, *seq2seq_lm.text(batch))

  return seq2seq_lm.denoising(ctx.model.config, given)


def corrupter(
  ctx: Context, rate: float, mean_length: float
) -> Callable[[jax.Array, jax.Array, jax.Array], seq2seq_lm.Made]:
  """Returns the corruption of a run: (rng, tokens (B, L), count (B,)) -> rows.

  Args:
    ctx, rate, mean_length: see `make`.
  """
  config = ctx.model.config
  first, there = sentinels(ctx.tokenizer, config)

  def run(rng, tokens, count):
    noise, spans = budget(tokens.shape[1], rate, mean_length)
    if spans.max() > there:
      raise ValueError(
        f'rows of {tokens.shape[1]} tokens may have {spans.max()} spans left '
        f'out, but there are {there} sentinels; lower data.max_length, give a '
        'tokenizer with more <extra_id_...>, or a model.vocab_size of at least '
        f'{ctx.tokenizer.vocab_size + spans.max()}'
      )
    left_out = draw(rng, count, noise, spans)
    written = int(noise[-1] + spans[-1]) + 1
    widths = tokens.shape[1] + 2 * int(spans[-1]) + 2 - written, written
    return corrupt(tokens, count, left_out, first, config, widths)

  return run


def sentinels(tokenizer: Any, config: EncoderConfig) -> tuple[int, int]:
  """Returns the first sentinel's id and how many there are, counting down.

  Args:
    tokenizer: of the run.
    config: of the model.
  """
  vocab, there = tokenizer.vocab, 0
  first = vocab.get('<extra_id_0>')
  if first is None:
    return config.vocab_size - 1, config.vocab_size - tokenizer.vocab_size
  while vocab.get(f'<extra_id_{there}>') == first - there:
    there += 1
  return first, there


def budget(
  length: int, rate: float, mean_length: float
) -> tuple[np.ndarray, np.ndarray]:
  """Returns how many tokens and spans a row of n tokens leaves out.

  Args:
    length: of the longest row.
    rate, mean_length: see `make`.

  Returns:
    Two (length + 1,) int arrays, by n. Rows of fewer than two tokens lose none.
  """
  # Half to even, in the precision of the official code.
  n = np.arange(length + 1)
  noise = np.clip(np.round(rate * n), 1, np.maximum(n - 1, 1)).astype(int)
  noise[:2] = 0
  spans = np.maximum(1, np.round(noise / mean_length)).astype(int)
  return noise, np.minimum(spans, np.minimum(noise, n - noise))


def draw(
  rng: jax.Array, count: jax.Array, noise: np.ndarray, spans: np.ndarray
) -> jax.Array:
  """Draws which tokens are left out: (B, L) bool.

  Args:
    rng: typed key.
    count: (B,) real tokens of each row.
    noise, spans: (L + 1,), see `budget`.
  """
  length, most = len(noise) - 1, int(spans.max())
  lost, pieces = jnp.asarray(noise)[count], jnp.asarray(spans)[count]
  keys = jax.random.split(rng)
  shape = (len(count), length)
  sizes = [
    _parts(jax.random.uniform(key, shape), total, pieces, most)
    for key, total in zip(keys, (count - lost, lost))
  ]
  lengths = jnp.stack(sizes, -1).reshape(len(count), 2 * most)
  ends = jnp.cumsum(lengths, -1)
  place = jnp.arange(length)
  piece = (place[:, None] >= ends[:, None, :]).sum(-1)
  return (piece % 2 == 1) & (place < count[:, None])


def _parts(luck, total, pieces, most):
  """A uniform partition of each total into positive parts: (B, most).

  Args:
    luck: (B, L) random numbers.
    total, pieces: (B,); parts beyond `pieces` are 0.
    most: the most parts of any row.
  """
  place = jnp.arange(luck.shape[1])
  inside = (place > 0) & (place < total[:, None])
  order = jnp.argsort(jnp.where(inside, luck, jnp.inf), -1)
  rank = jnp.argsort(order, -1)
  cut = inside & (rank < pieces[:, None] - 1)
  part = jnp.cumsum(cut, -1)
  real = place < total[:, None]
  return ((part[..., None] == jnp.arange(most)) & real[..., None]).sum(1)


def corrupt(
  tokens: jax.Array,
  count: jax.Array,
  left_out: jax.Array,
  first: int,
  config: EncoderConfig,
  widths: tuple[int, int],
) -> seq2seq_lm.Made:
  """Returns input ids and mask (B, M) and targets (B, T), -100 behind them.

  Args:
    tokens: (B, L) text.
    count: (B,) how many of them are real.
    left_out: (B, L) bool.
    first: sentinel of the first span; the others count down.
    config: `end_id` and `pad_id` are read.
    widths: M and T, with room for sentinels and the end token.
  """
  real = jnp.arange(tokens.shape[1]) < count[:, None]
  sides = []
  for gone, width in zip((left_out & real, ~left_out & real), widths):
    before = jnp.pad(gone, ((0, 0), (1, 0)))[:, :-1]
    begins = gone & ~before
    sentinel = first + 1 - jnp.cumsum(begins, -1)
    values = jnp.where(begins, sentinel, tokens)
    keep = real & (~gone | begins)
    sides.append(ended(values, keep, width, config.end_id, config.pad_id))
  (ids, mask), (target, wanted) = sides
  return ids, mask, jnp.where(wanted, target, -100)
