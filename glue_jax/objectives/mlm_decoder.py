"""Masked words through a decoder that only pre-training has (DrBERT, BPDec).

Liang and Liang 2024, arXiv 2401.15861: between BERT and its head stand a few
more blocks, thrown away afterwards, so that tuning and serving cost what they
did. Two things set the decoder apart from a deeper BERT:

  gradual unmasking  a masked token's state is a poor key at first: the first
            block attends to few of them, the later ones to all. Every token
            still asks.
  mixed outputs      the head reads some tokens' states from the encoder itself,
            at random, others' from the decoder; in evaluations all from the
            decoder.

Only abstracts and a review could be read, and no code is published: how many
blocks, which shares, that a token is the unit of mixing are definitions of this
project, and what the paper gains is not confirmed. The decoder's blocks are
BERT's, whatever the encoder's are. DeBERTa's enhanced mask decoder, the other
design of the kind, is a stack of that family.

Use it: to compare objectives of pre-training whose finished model is the same.
Costs: while pre-training two more blocks, a sixth of a base size; then nothing.
Not with: a decoder or an encoder-decoder, or a tokenizer without [MASK]. The
  decoder is dropped from the finished model unless it is kept; without it the
  run's model can be tuned, but not be evaluated on this objective.
"""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from glue_jax.config.ranges import Count, OneOf, OpenShare, Share
from glue_jax.layers.context import BatchContext
from glue_jax.layers.spec import EncoderConfig
from glue_jax.method import Companion, Context, Facts, Method, Objective
from glue_jax.models import stack as stack_lib
from glue_jax.objectives import mlm
from glue_jax.plugs import Apply

FACTS = Facts(
  small={},
  needs=dict(
    task=dict(name='corpus', kind='language_modeling'),
    data=dict(files='CORPUS'),
  ),
)

DECODER = 'decoder'
# What of its sizes the decoder has from the encoder.
SIZES = (
  'hidden_size', 'num_heads', 'intermediate_size', 'activation',
  'layer_norm_eps', 'dropout', 'attention_dropout', 'init_range', 'dtype',
  'remat',
)  # fmt: skip

Batch = Mapping[str, jax.Array]


class Draws(NamedTuple):
  """What is seen and what is mixed, see `make`."""

  layers: int
  first_visible: float | None
  mix: float
  mix_unit: str


def make(
  ctx: Context,
  *,
  rate: OpenShare = 0.15,
  whole_word: bool = False,
  mask_share: Share = 0.8,
  random_share: Share = 0.1,
  layers: Count = 2,
  first_visible: Share | None = 0.5,
  mix: Share = 0.5,
  mix_unit: Annotated[
    str, OneOf(('token', 'element', 'sequence', 'convex'))
  ] = 'token',
  keep_decoder: bool = False,
) -> Objective:
  """Returns the objective, with the decoder that it brings.

  Args:
    ctx: see `Context`; its model has the head of masked words.
    rate, whole_word, mask_share, random_share: see `mlm.make`.
    layers: blocks of the decoder.
    first_visible: share of the chosen tokens that the first block attends to;
      1 is a decoder without gradual unmasking; None lets block l of N see l/N.
    mix: how often the head reads the encoder, a probability; 0 never.
    mix_unit: what that is drawn for; 'convex' draws nothing and gives
      mix * encoder + (1 - mix) * decoder.
    keep_decoder: leave it in the finished model's folder.

  Raises:
    ValueError: as `mlm.make`, or a model that isn't an encoder with a head of
      masked words.
  """
  if ctx.model.shape != 'encoder' or ctx.model.kind != 'mlm':
    raise ValueError(
      'objective "mlm_decoder" needs an encoder with the head of masked words, '
      f'found {ctx.model.family!r} with {ctx.model.kind!r}; take bert, roberta '
      "or another encoder, and model.head='mlm'"
    )
  masked = mlm.masker(ctx, rate, whole_word, (mask_share, random_share))
  sizes = {name: getattr(ctx.model.config, name) for name in SIZES}
  blocks = Blocks(EncoderConfig(num_layers=layers, **sizes))

  draws = Draws(layers, first_visible, mix, mix_unit)

  def loss(apply, params, batch, rng):
    mask_rng, rng = jax.random.split(rng)
    batch = masked(batch, mask_rng)
    logits = decoded(apply, params, batch, rng, draws, True)
    total, right, count = (x.sum() for x in mlm.score(logits, batch))
    metrics = {'loss': (total, count), 'accuracy': (right, count)}
    return total / jnp.maximum(count, 1), metrics

  def predict(apply, params, batch):
    # The same masks and draws at every evaluation.
    key = jax.random.key(0)
    batch = masked(batch, key)
    logits = decoded(apply, params, batch, key, draws, False)
    losses, right, count = mlm.score(logits, batch)
    return {'loss_sum': losses, 'correct': right, 'loss_count': count}

  beside = Companion(Apply(blocks), keep=keep_decoder)
  brought = Method('mlm_decoder', companions={DECODER: beside})
  return Objective(loss, predict, method=brought)


def decoded(
  apply: Any,
  params: Any,
  batch: Batch,
  rng: jax.Array,
  draws: Draws,
  train: bool,
) -> jax.Array:
  """Returns the head's logits behind encoder and decoder: (B, K, V).

  Args:
    apply: the bound model, with the decoder beside it.
    params: the whole tree.
    batch: with positions and labels (B, K) of the chosen tokens.
    rng: typed key.
    draws: what of it hides and mixes.
    train: turns dropout and mixing on.

  Raises:
    ValueError: the decoder's leaves are gone.
  """
  if DECODER not in params:
    raise ValueError(
      'this model has lost its decoder; to evaluate it later, train with '
      'objective.keep_decoder=True'
    )
  unmask_rng, mix_rng, *rngs = jax.random.split(jax.random.fold_in(rng, 1), 4)
  # The encoder has the key that it has in `mlm`.
  encoded = apply(params, batch, train=train, rng=rng)['last_hidden']
  luck = jax.random.uniform(unmask_rng, batch['input_ids'].shape)
  seen = visible_keys(luck, batch, draws.layers, draws.first_visible)
  given = {**batch, 'last_hidden': encoded, 'visible': seen}
  hidden = apply.companions[DECODER](
    params[DECODER], given, train=train, rng=rngs[0]
  )['last_hidden']
  if train:
    hidden = mixed(mix_rng, encoded, hidden, draws.mix, draws.mix_unit)
  given = {**batch, 'last_hidden': hidden}
  return apply(params, given, train=train, rng=rngs[1])['logits']


class Blocks(stack_lib.Stack):
  """Blocks on given states, each with its own view of the keys.

  Parameter names: layer_{i}/..., as in `models/stack.py`.
  """

  rules = stack_lib.RULES

  def __call__(self, batch: Batch, train: bool = False) -> dict[str, Any]:
    """Runs the blocks.

    Args:
      batch: attention_mask (B, L); last_hidden (B, L, D) and visible (N, B, L)
        bool, the keys of each block. By a batch without the last two, leaves
        are made.
      train: turns dropout on.

    Returns:
      last_hidden (B, L, D), hidden_states, N of them.
    """
    mask = batch['attention_mask'] != 0
    x = batch.get('last_hidden')
    if x is None:
      x = jnp.zeros((*mask.shape, self.config.hidden_size), self.config.dtype)
    visible = batch.get('visible', [mask] * len(self.layer))
    states = []
    for layer, seen in zip(self.layer, visible, strict=True):
      bias = stack_lib.excluded(seen)[:, None, None, :]
      x = layer(x, BatchContext(mask=mask, bias=bias), train)
      states.append(x)
    return {'last_hidden': x, 'hidden_states': tuple(states)}


def visible_keys(
  luck: jax.Array, batch: Batch, layers: int, first_visible: float | None
) -> jax.Array:
  """Returns which tokens each block attends to: (N, B, L) bool.

  Args:
    luck: uniform in [0, 1), (B, L). A chosen token that one block sees, the
      later ones do, too.
    batch: attention_mask (B, L); positions and labels (B, K) of the chosen
      tokens, as `mlm.at_chosen` has them. A row in which all are chosen (no
      special tokens) attends to its first one.
    layers: N; a single block sees all.
    first_visible: see `make`.
  """
  real = batch['attention_mask'] != 0
  rows = jnp.arange(len(real))[:, None]
  chosen = jnp.zeros(real.shape, bool)
  chosen = chosen.at[rows, batch['positions']].max(batch['labels'] >= 0)
  shares = [1.0] * layers
  if first_visible is None:
    shares = [(i + 1) / layers for i in range(layers)]
  elif layers > 1:
    shares[0] = first_visible
  first = jnp.arange(real.shape[1]) == 0
  seen = [real & (~chosen | (luck < share) | first) for share in shares]
  return jnp.stack(seen)


def mixed(
  rng: jax.Array, encoded: jax.Array, decoded: jax.Array, mix: float, unit: str
) -> jax.Array:
  """Returns what the head reads: (B, L, D).

  Args:
    rng: typed key.
    encoded, decoded: (B, L, D).
    mix, unit: see `make`.
  """
  if unit == 'convex':
    return mix * encoded + (1 - mix) * decoded
  count, length, width = encoded.shape
  shape = {
    'token': (count, length),
    'element': (count, length, width),
    'sequence': (count, 1),
  }[unit]
  return chosen_states(jax.random.uniform(rng, shape), encoded, decoded, mix)


def chosen_states(
  luck: jax.Array, encoded: jax.Array, decoded: jax.Array, mix: float
) -> jax.Array:
  """Returns the encoder's state where luck < mix, else the decoder's.

  Args:
    luck: (B, L), (B, 1) or (B, L, D).
    encoded, decoded: (B, L, D).
    mix: a probability.
  """
  keep = luck < mix
  keep = keep if keep.ndim == encoded.ndim else keep[..., None]
  return jnp.where(keep, encoded, decoded)
