"""Masked language modelling with whole-word masking.

Devlin et al. 2019, arXiv 1810.04805, section 3.1: 15 % of the tokens are
chosen; of those 80 % become [MASK], 10 % a random token, 10 % stay. Whole-word
masking chooses words instead of tokens (the authors' later release). Masking
runs inside the step, so every epoch masks anew. Where the original fills the
budget exactly by skipping a word that doesn't fit, words here are taken in
random order until the first that doesn't fit; at least one word is masked. What
is longer than any row's budget, as all of a text without blanks may be, is
chosen token by token: else its later tokens would never be predicted. As in the
original, logits are computed where a token was chosen, not elsewhere.

With `ngrams` the words of a row are cut into runs of up to N, drawn anew every
time, n of them with p(n) = (1/n) / sum_k (1/k), and runs are chosen instead of
words: ALBERT's masks, N = 3 (Lan et al. 2019, arXiv 1909.11942, section 4.1),
whose code draws where a run begins instead of cutting the row.

Use it: to pre-train on plain text, or to go on with that on a task's domain.
Costs: logits over the vocabulary for about 15 % of the tokens.
Not with: a tokenizer without [MASK].
"""

import math
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp

from glue_jax.config.ranges import Count, OpenShare, Share
from glue_jax.method import Context, Facts, Objective
from glue_jax.objectives.task import cross_entropy

Batch = Mapping[str, jax.Array]

FACTS = Facts(
  small={},
  needs=dict(
    task=dict(name='corpus', kind='language_modeling'),
    data=dict(files='CORPUS'),
  ),
  arms={
    'tokens': dict(whole_word=False, mask_share=1.0, random_share=0.0),
    'ngrams': dict(ngrams=3),
  },
)

# The heads with scores of words, the second one of pairs too.
HEADS = ('mlm', 'sentence_structure')


def make(
  ctx: Context,
  *,
  rate: OpenShare = 0.15,
  whole_word: bool = True,
  ngrams: Count = 1,
  mask_share: Share = 0.8,
  random_share: Share = 0.1,
) -> Objective:
  """Returns the objective.

  Args:
    ctx: see `Context`.
    rate: share of the tokens to choose.
    whole_word: choose whole words rather than single tokens, but for words of
      more than ceil(rate L) tokens of a row's L.
    ngrams: longest run of words that is chosen as one; 1 = single words.
    mask_share, random_share: of the chosen tokens, what becomes [MASK] and what
      another token; the rest stays.

  Raises:
    ValueError: the shares aren't parts of 1, there are runs of single tokens,
      or there is no [MASK] token.
  """
  shares = mask_share, random_share
  return of_masks(masker(ctx, rate, whole_word, shares, ngrams))


def of_masks(masked: Callable[[Batch, jax.Array], Batch]) -> Objective:
  """Returns the objective for a way to mask.

  Args:
    masked: (batch, rng) -> batch, as that of `masker`.
  """

  def loss(apply, params, batch, rng):
    mask_rng, rng = jax.random.split(rng)
    batch = masked(batch, mask_rng)
    logits = apply(params, batch, train=True, rng=rng)['logits']
    total, right, count = (x.sum() for x in score(logits, batch))
    metrics = {'loss': (total, count), 'accuracy': (right, count)}
    return total / jnp.maximum(count, 1), metrics

  def predict(apply, params, batch):
    # The same masks at every evaluation, whatever the batch's place.
    batch = masked(batch, jax.random.key(0))
    losses, right, count = score(apply(params, batch)['logits'], batch)
    return {'loss_sum': losses, 'correct': right, 'loss_count': count}

  return Objective(loss, predict)


def masker(
  ctx: Context,
  rate: float,
  whole_word: bool,
  shares: tuple[float, float],
  ngrams: int = 1,
) -> Callable[[Batch, jax.Array], Batch]:
  """Returns (batch, rng) -> masked batch, see `make` and `mask_tokens`.

  positions and labels are (B, K), K = ceil(rate L) of a row's L tokens: the
  chosen ones in order, then others, whose labels are negative.

  Raises:
    ValueError: as `make`.
  """
  check_masks(ctx, shares)
  if ngrams > 1 and not whole_word:
    raise ValueError(
      f'config.objective ngrams={ngrams} are runs of whole words; leave out '
      'whole_word=False'
    )
  mask_id, vocab_size = ctx.tokenizer.mask_id, ctx.tokenizer.vocab_size

  def masked(batch, rng):
    batch = mask_tokens(
      rng,
      batch,
      rate=rate,
      mask_id=mask_id,
      vocab_size=vocab_size,
      whole_word=whole_word,
      ngrams=ngrams,
      shares=shares,
    )
    return at_chosen(batch, most(rate, batch['labels'].shape[-1]))

  return masked


def check_masks(ctx: Context, shares: tuple[float, float]) -> None:
  """Refuses heads, shares of masks and tokenizers that cannot be.

  Raises:
    ValueError: the head isn't one of masked words, the shares aren't parts of
      1, or there is no [MASK] token.
  """
  if sum(shares) > 1:
    raise ValueError(
      f'config.objective mask_share={shares[0]}, random_share={shares[1]}: '
      'expected parts of 1'
    )
  if ctx.tokenizer.mask_id is None:
    raise ValueError(
      'masked language modelling needs a tokenizer with a [MASK] token'
    )
  if ctx.model.kind not in HEADS:
    raise ValueError(
      'masked language modelling needs an encoder with a head of masked words '
      f'{HEADS}, found {ctx.model.family!r} with the head {ctx.model.kind!r}; '
      "give model.head='mlm', or another objective"
    )


def at_chosen(batch: Batch, most: int) -> dict[str, jax.Array]:
  """Returns the batch with positions and labels (B, K) of the chosen tokens.

  Args:
    batch: labels (B, L), negative where nothing was chosen.
    most: K; no row has more of them. The chosen ones come first and in order,
      then others, whose labels are negative.
  """
  labels = batch['labels']
  order = jnp.argsort(labels < 0, axis=-1, stable=True)
  positions = order[:, :most]
  labels = jnp.take_along_axis(labels, positions, axis=-1)
  return {**batch, 'positions': positions, 'labels': labels}


def score(
  logits: jax.Array, batch: Mapping[str, jax.Array]
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Sums of each row (B,): losses, right guesses and count of chosen tokens.

  Args:
    logits: (B, K, V).
    batch: labels (B, K), negative where nothing was chosen; weight (B,).
  """
  chosen = (batch['labels'] >= 0) * batch['weight'][:, None]
  labels = jnp.maximum(batch['labels'], 0)
  losses = cross_entropy(logits, labels) * chosen
  right = (jnp.argmax(logits, -1) == labels) * chosen
  return losses.sum(-1), right.sum(-1), chosen.sum(-1)


def mask_tokens(
  rng: jax.Array,
  batch: Mapping[str, jax.Array],
  *,
  rate: float,
  mask_id: int,
  vocab_size: int,
  whole_word: bool,
  shares: tuple[float, float],
  ngrams: int = 1,
) -> dict[str, jax.Array]:
  """Chooses tokens, corrupts them and adds the labels.

  Args:
    rng: typed key.
    batch: input_ids (B, L) and word_ids (B, L), -1 where nothing may be
      chosen (special tokens, padding).
    rate: share of the tokens to choose.
    mask_id, vocab_size: of the tokenizer.
    whole_word: choose all tokens of a word or none, if they are no more than
      ceil(rate L).
    shares: of the chosen tokens, what becomes [MASK] and what another token.
    ngrams: longest run of whole words that is chosen as one.

  Returns:
    The batch with corrupted input_ids and labels (B, L): the token that was
    there, -100 where none was chosen.
  """
  score_rng, *rngs = jax.random.split(rng, 3)
  chosen = _choose(score_rng, batch['word_ids'], rate, whole_word, ngrams)
  return corrupted(rngs, batch, chosen, mask_id, vocab_size, shares)


def corrupted(
  rngs: Sequence[jax.Array],
  batch: Mapping[str, jax.Array],
  chosen: jax.Array,
  mask_id: int,
  vocab_size: int,
  shares: tuple[float, float],
) -> dict[str, jax.Array]:
  """Returns the batch with chosen tokens corrupted, see `mask_tokens`.

  Args:
    rngs: two typed keys.
    batch: input_ids (B, L).
    chosen: (B, L) bool.
    mask_id, vocab_size: of the tokenizer.
    shares: of the chosen tokens, what becomes [MASK] and what another token.
  """
  kind_rng, token_rng = rngs
  ids = batch['input_ids']
  kind = jax.random.uniform(kind_rng, ids.shape)
  other = jax.random.randint(token_rng, ids.shape, 0, vocab_size, ids.dtype)
  to_mask, to_other = kind < shares[0], kind < sum(shares)
  corrupt = jnp.where(to_mask, mask_id, jnp.where(to_other, other, ids))
  return dict(
    batch,
    input_ids=jnp.where(chosen, corrupt, ids),
    labels=jnp.where(chosen, ids, -100),
  )


def _choose(rng, words, rate, whole_word, ngrams):
  """Returns (B, L) bool: tokens to predict."""
  candidate = words >= 0
  starts = jnp.ones_like(candidate)
  if whole_word:
    starts = unit_starts(words, most(rate, words.shape[-1]))
  budget = jnp.round(rate * candidate.sum(-1, keepdims=True))
  if ngrams > 1:
    runs_rng = jax.random.fold_in(rng, 1)
    starts = run_starts(runs_rng, words, starts, ngrams, budget)
  # A number from 0 for each run of tokens that are chosen together.
  unit = jnp.cumsum(starts, -1) - 1
  luck = jax.random.uniform(rng, words.shape)
  luck = jnp.take_along_axis(luck, unit, -1)
  luck = jnp.where(candidate, luck, jnp.inf)
  ordered = jnp.sort(luck, -1)
  search = jax.vmap(jnp.searchsorted, in_axes=(0, 0))
  earlier = search(ordered, luck)
  fits = earlier + _sizes(starts) <= jnp.maximum(budget, 1)
  return candidate & (fits | (earlier == 0))


def unit_starts(words: jax.Array, most: int) -> jax.Array:
  """Returns where a word begins, (B, L) bool; long ones begin at each token.

  Args:
    words: word_ids (B, L), -1 where nothing may be chosen.
    most: tokens of the longest word that is taken as a whole.
  """
  before = jnp.pad(words, ((0, 0), (1, 0)), constant_values=-2)[:, :-1]
  starts = words != before
  return starts | ((words >= 0) & (_sizes(starts) > most))


def run_starts(
  rng: jax.Array,
  words: jax.Array,
  starts: jax.Array,
  ngrams: int,
  most: jax.Array,
) -> jax.Array:
  """Returns where a run of words begins, (B, L) bool, see the module.

  None reaches over a token that may not be chosen. One of more than `most`
  tokens is taken apart.

  Args:
    rng: typed key.
    words: word_ids (B, L), -1 where nothing may be chosen.
    starts: (B, L) bool, where a word begins.
    ngrams: N.
    most: (B, 1), tokens of a row's longest run.
  """
  share = 1 / jnp.arange(1, ngrams + 1)
  below = jnp.cumsum(share / share.sum())[:-1]  # p(1), p(1) + p(2), ...
  draw = jax.random.uniform(rng, words.shape)
  lengths = 1 + (draw[..., None] > below).sum(-1)
  # Among the words of a row, those that a run begins with.
  rows = jnp.arange(len(words))[:, None]
  firsts = jnp.cumsum(lengths, -1) - lengths
  begins = jnp.zeros(words.shape, bool).at[rows, firsts].set(True, mode='drop')
  begins = jnp.take_along_axis(begins, jnp.cumsum(starts, -1) - 1, -1)
  before = jnp.pad(words, ((0, 0), (1, 0)), constant_values=-1)[:, :-1]
  runs = starts & (begins | (words < 0) | (before < 0))
  return jnp.where(_sizes(runs) > most, starts, runs)


def _sizes(starts):
  """How many tokens each token's run has: (B, L) int, from bool."""
  length = starts.shape[-1]
  place = jnp.arange(length)
  first = jax.lax.cummax(jnp.where(starts, place, 0), axis=1)
  begins = jnp.where(starts, place, length)
  # The next run's begin: the least one behind the token.
  behind = jnp.pad(begins[:, 1:], ((0, 0), (0, 1)), constant_values=length)
  return jax.lax.cummin(behind, axis=1, reverse=True) - first


def most(rate: float, length: int) -> int:
  """Returns the most tokens that are chosen of a row."""
  return max(1, math.ceil(rate * length))
