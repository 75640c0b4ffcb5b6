"""Replaced token detection: ELECTRA's two networks in one step.

Clark et al. 2020, arXiv 2003.10555, as its code has it: a small generator fills
masked tokens in, and the model, the discriminator, says of every token whether
it is the original one. L = L_G + 50 L_D, one backward pass, one optimizer; no
gradient flows through the samples. L_G is the mean over the chosen tokens, L_D
that over all real ones, special tokens too. A sample that equals the original
is no replacement.

Of a row with n real tokens, round(rate n) places are drawn with replacement, so
that some fall together; a chosen token becomes [MASK] in 85 % of the cases and
stays in the others, where it is a target all the same (the paper masks all).
Generator and discriminator share the tables of words, positions and token types
and the norm behind them; the projection from their width is each one's own.

Use it: to pre-train where compute is short: every token teaches.
Costs: beside the discriminator, which is a masked LM without the logits over
  the vocabulary, the generator: at a quarter of the width a sixteenth of its
  matrices.
Not with: another head than 'replaced_tokens', or a tokenizer without [MASK].
  The generator is dropped from the finished model unless it is kept; without it
  the run's model can be tuned, but not be evaluated on this objective.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from glue_jax import tree
from glue_jax.config.ranges import NonNegative, OpenShare, Positive, Share
from glue_jax.layers.spec import EncoderConfig
from glue_jax.method import Companion, Context, Facts, Method, Objective
from glue_jax.models import model as models
from glue_jax.objectives import mlm
from glue_jax.plugs import Apply

FACTS = Facts(
  small=dict(generator_size=0.5),
  needs=dict(
    task=dict(name='corpus', kind='language_modeling'),
    data=dict(files='CORPUS'),
    model=dict(name='electra', head='replaced_tokens', embedding_size=12),
  ),
)

GENERATOR = 'generator'
# Parts of the embeddings that both networks read.
SHARED = ('word', 'position', 'token_type', 'ln')

Batch = Mapping[str, jax.Array]
Sums = tuple[jax.Array, jax.Array, jax.Array]


class Draws(NamedTuple):
  """What masks and samples are drawn by, see `make`."""

  rate: float
  mask_share: float
  mask_id: int
  temperature: float


def make(
  ctx: Context,
  *,
  rate: OpenShare = 0.15,
  mask_share: Share = 0.85,
  generator_size: OpenShare = 0.25,
  generator_weight: NonNegative = 1.0,
  discriminator_weight: NonNegative = 50.0,
  temperature: Positive = 1.0,
  keep_generator: bool = False,
) -> Objective:
  """Returns the objective, with the generator that it brings.

  Args:
    ctx: see `Context`; its model has the head 'replaced_tokens'.
    rate: tokens to draw, as a share of the real ones (published: 0.15; large
      size 0.25).
    mask_share: of the chosen tokens, what becomes [MASK]; the rest stays.
    generator_size: width of the generator, as a share of the model's
      (published: 1/4 of small and large, 1/3 of base).
    generator_weight, discriminator_weight: of the two losses.
    temperature: of the samples.
    keep_generator: leave it in the finished model's folder.

  Raises:
    ValueError: another head, a tokenizer without [MASK], or a generator of no
      width.
  """
  check(ctx, 'rtd')
  mask_id = ctx.tokenizer.mask_id
  size = generator_config(ctx.model.config, generator_size)
  generator = models.build(ctx.model.family, kind='mlm', config=size)

  draws = Draws(rate, mask_share, mask_id, temperature)

  def loss(apply, params, batch, rng):
    words, tokens, replaced = _forward(apply, params, batch, rng, draws, True)
    total, right, count = (x.sum() for x in words)
    verdicts, seen_right, real = (x.sum() for x in tokens)
    value = generator_weight * total / jnp.maximum(count, 1)
    value += discriminator_weight * verdicts / jnp.maximum(real, 1)
    return value, {
      'loss': (value * real, real),
      'generator_loss': (total, count),
      'generator_accuracy': (right, count),
      'discriminator_loss': (verdicts, real),
      'accuracy': (seen_right, real),
      'replaced': ((replaced.sum(-1) * batch['weight']).sum(), real),
    }

  def predict(apply, params, batch):
    # The same masks and samples at every evaluation.
    words, tokens, replaced = _forward(
      apply, params, batch, jax.random.key(0), draws, False
    )
    losses, right, real = tokens
    return {
      'loss_sum': losses,
      'correct': right,
      'loss_count': real,
      'generator_loss_sum': words[0],
      'generator_loss_count': words[2],
      'replaced_sum': replaced.sum(-1) * batch['weight'],
      'replaced_count': real,
    }

  beside = Companion(Apply(generator), keep=keep_generator)
  brought = Method(
    'rtd',
    companions={GENERATOR: beside},
    surgery=lambda _, params: tied(params),
  )
  own_means = {'generator_loss': generator_weight}
  return Objective(loss, predict, method=brought, terms=own_means)


def _forward(apply, params, batch, rng, draws: Draws, train: bool):
  """Sums of the generator and of the discriminator; (B, L) what is replaced."""
  if GENERATOR not in params:
    raise ValueError(
      'this model has lost its generator, so that nothing replaces tokens; '
      'to evaluate it later, train with objective.keep_generator=True'
    )
  mask_rng, noise_rng, *rngs = jax.random.split(rng, 4)
  masked = masks(mask_rng, batch, draws.rate, draws.mask_share, draws.mask_id)
  words = apply.companions[GENERATOR](
    whole_generator(params), masked, train=train, rng=rngs[0]
  )['logits']
  noise = jax.random.uniform(noise_rng, words.shape)
  guess = sample(words, noise, draws.temperature)
  seen, replaced = corrupt(batch, masked, guess)
  logits = apply(params, seen, train=train, rng=rngs[1])['logits']
  return mlm.score(words, masked), score(logits, replaced, batch), replaced


def check(ctx: Context, name: str) -> None:
  """Refuses a model or tokenizer that tokens can't be replaced for.

  Args:
    ctx: see `make`.
    name: of the objective, for the message.

  Raises:
    ValueError: another head than a discriminator's, or no [MASK].
  """
  if ctx.model.kind != 'replaced_tokens':
    raise ValueError(
      f'objective "{name}" trains a generator for a discriminator, found the '
      f"head {ctx.model.kind!r}; give model.head='replaced_tokens' (electra "
      'and deberta_v2 have it)'
    )
  if ctx.tokenizer.mask_id is None:
    raise ValueError(f'objective "{name}" needs a tokenizer with a [MASK]')


def generator_config(config: EncoderConfig, share: float) -> EncoderConfig:
  """Returns the generator's sizes: narrower by `share`, as deep, 64 a head.

  Raises:
    ValueError: nothing is left of the width.
  """
  width = round(share * config.hidden_size)
  if width < 1:
    raise ValueError(
      f'config.objective.generator_size={share} of a width of '
      f'{config.hidden_size} leaves nothing; give a larger share'
    )
  return dataclasses.replace(
    config,
    hidden_size=width,
    num_heads=max(1, width // 64),
    intermediate_size=4 * width,
    embedding_size=config.embedding_size or config.hidden_size,
  )


def tied(params: tree.Tree) -> tree.Tree:
  """Returns the tree without the generator's own copies of shared parts."""
  pattern = f'encoder/embeddings/({"|".join(SHARED)})/.*'
  own, _ = tree.partition(
    params[GENERATOR], lambda name: not tree.matches(pattern, name)
  )
  return {**params, GENERATOR: own}


def whole_generator(params: tree.Tree) -> tree.Tree:
  """Returns the generator's tree, the shared parts taken from the model's."""
  embeddings = params['encoder']['embeddings']
  shared = {name: embeddings[name] for name in SHARED if name in embeddings}
  shared = {'encoder': {'embeddings': shared}}
  return tree.merge(params[GENERATOR], shared)


def masks(
  rng: jax.Array, batch: Batch, rate: float, mask_share: float, mask_id: int
) -> dict[str, jax.Array]:
  """Chooses tokens and masks them, see the module.

  Args:
    rng: typed key.
    batch: input_ids, attention_mask (B, L); word_ids (B, L), -1 where nothing
      may be chosen.
    rate, mask_share: see `make`.
    mask_id: of the tokenizer.

  Returns:
    The batch with input_ids as the generator reads them, and positions and
    labels (B, K) as `mlm.masker` has them, K = max(1, int((rate + 0.005) L)).
  """
  place_rng, mask_rng = jax.random.split(rng)
  ids, candidate = batch['input_ids'], batch['word_ids'] >= 0
  rows, length = ids.shape
  most = max(1, int((rate + 0.005) * length))
  count = candidate.sum(-1, keepdims=True)
  real = batch['attention_mask'].sum(-1, keepdims=True)
  draws = jnp.clip(jnp.round(rate * real), 1, most)
  rank = jax.random.uniform(place_rng, (rows, most)) * count
  order = jnp.argsort(~candidate, axis=-1, stable=True)
  place = jnp.take_along_axis(order, rank.astype(jnp.int32), axis=-1)
  drawn = (jnp.arange(most) < draws) & (count > 0)
  chosen = jnp.zeros(ids.shape, bool)
  chosen = chosen.at[jnp.arange(rows)[:, None], place].max(drawn)
  to_mask = jax.random.uniform(mask_rng, ids.shape) < mask_share
  masked = dict(
    batch,
    input_ids=jnp.where(chosen & to_mask, mask_id, ids),
    labels=jnp.where(chosen, ids, -100),
  )
  return mlm.at_chosen(masked, most)


def sample(
  logits: jax.Array, noise: jax.Array, temperature: float = 1.0
) -> jax.Array:
  """Draws tokens: argmax of logits / T plus Gumbel noise; no gradient.

  Args:
    logits: (B, K, V).
    noise: uniform in [0, 1), (B, K, V).
    temperature: T.

  Returns:
    (B, K) int32.
  """
  gumbel = -jnp.log(-jnp.log(noise + 1e-9) + 1e-9)
  drawn = jnp.argmax(logits / temperature + gumbel, axis=-1)
  return jax.lax.stop_gradient(drawn).astype(jnp.int32)


def corrupt(
  batch: Batch, masked: Batch, guess: jax.Array
) -> tuple[dict[str, jax.Array], jax.Array]:
  """Puts samples where tokens were chosen.

  Args:
    batch: the original one.
    masked: of `masks`: positions and labels (B, K).
    guess: (B, K) tokens.

  Returns:
    (batch that the discriminator reads, (B, L) 1.0 where a token isn't the
    original one).
  """
  ids, places = batch['input_ids'], masked['positions']
  there = jnp.take_along_axis(ids, places, axis=-1)
  new = jnp.where(masked['labels'] >= 0, guess.astype(ids.dtype), there)
  rows = jnp.arange(len(ids))[:, None]
  corrupted = ids.at[rows, places].set(new)
  return {**batch, 'input_ids': corrupted}, (corrupted != ids) * 1.0


def score(logits: jax.Array, replaced: jax.Array, batch: Batch) -> Sums:
  """Sums of each row (B,): losses, right verdicts and count of real tokens.

  Args:
    logits: (B, L), above 0 for a replaced token.
    replaced: (B, L), 1 where it is one.
    batch: attention_mask (B, L); weight (B,).
  """
  real = batch['attention_mask'] * batch['weight'][:, None]
  losses = optax.sigmoid_binary_cross_entropy(logits, replaced) * real
  right = ((logits > 0) == (replaced > 0)) * real
  return losses.sum(-1), right.sum(-1), real.sum(-1)
