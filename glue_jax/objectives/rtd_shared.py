"""Replaced token detection with shared or disentangled embeddings: DeBERTaV3.

He et al. 2021, arXiv 2111.09543, as its code has it. A generator as wide as the
model and half as deep fills masked tokens in; the model, the discriminator,
says of every real token, special ones too, whether it was replaced:
L = L_G + 50 L_D (the code's default is 10; not confirmed in the paper), L_G the
mean over the masked tokens. What is masked: objectives/window_masks.py, single
tokens, each of which becomes [MASK]; a sample that equals the original is no
replacement, and none has a gradient.

The tables of words (and of positions, where the embeddings have one) are

  es    one: both losses pull at it;
  nes   two;
  gdes  E_D = stop_gradient(E_G) + E_delta: the discriminator profits from the
        generator's table and does not pull at it. E_delta begins at 0.

Both networks begin at the model's table, whichever it is (ours: so weights that
are given serve both, and the three are compared from one start). In the tree
the model's leaf is E_D, under gdes E_delta; the finished model has E_D.

The updates are decoupled: the generator's, then the discriminator's, which
sees the table that the generator's has moved and samples of the generator
before; each with its own optimizer (`config.optimizer.phases`, 'generator' and
'discriminator'). Under es both move the shared table, each with a state of its
own (ours: in the code the discriminator's gradient waits for the generator's
next update). The joint form has one backward pass and one optimizer.

DeBERTa's generator gets absolute positions at its end alone, where its
embeddings have none (layers/stacks/mask_decoder.py).

Use it: to pre-train DeBERTa, or any encoder with a discriminator's head, where
  compute is short: every token teaches.
Costs: beside the discriminator a generator of half its matrices, with logits
  over the vocabulary for 15 % of the tokens.
Not with: another head than 'replaced_tokens', or a tokenizer without [MASK].
  The generator is dropped from the finished model unless it is kept; without it
  the run's model can be tuned, but not be evaluated on this objective.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from glue_jax import tree
from glue_jax.config.ranges import (
  Count,
  NonNegative,
  OneOf,
  OpenShare,
  Positive,
)
from glue_jax.layers.spec import EncoderConfig
from glue_jax.layers.stacks import mask_decoder
from glue_jax.method import (
  Companion,
  Context,
  Facts,
  Method,
  Objective,
  Phase,
)
from glue_jax.models import model as models
from glue_jax.models.model import Model
from glue_jax.objectives import mlm, rtd, window_masks
from glue_jax.plugs import Apply

FACTS = Facts(
  small=dict(discriminator_weight=1.0),
  needs=dict(
    task=dict(name='corpus', kind='language_modeling'),
    data=dict(files='CORPUS'),
    model=dict(name='deberta_v2', head='replaced_tokens'),
  ),
  arms={'joint': dict(sharing='es', decoupled=False)},
)

GENERATOR = rtd.GENERATOR
SHARINGS = ('es', 'nes', 'gdes')
# Tables that both networks have.
TABLES = r'encoder/embeddings/(word|position)/embedding'

Batch = Mapping[str, jax.Array]


class Draws(NamedTuple):
  """What is random in a step.

  Attributes:
    masked: (rng, batch) -> the batch with [MASK], positions and labels (B, K),
      negative where nothing was chosen.
    sampled: (rng, logits (B, K, V)) -> tokens (B, K).
  """

  masked: Callable[[jax.Array, Batch], Batch]
  sampled: Callable[[jax.Array, jax.Array], jax.Array]


def make(
  ctx: Context,
  *,
  sharing: Annotated[str, OneOf(SHARINGS)] = 'gdes',
  decoupled: bool = True,
  rate: OpenShare = 0.15,
  generator_layers: Count | None = None,
  discriminator_weight: NonNegative = 50.0,
  temperature: Positive = 1.0,
  keep_generator: bool = False,
) -> Objective:
  """Returns the objective, with the generator that it brings.

  Args:
    ctx: see `Context`; its model has the head 'replaced_tokens'.
    sharing: of the tables, see the module.
    decoupled: two updates a step, each with its optimizer; else one.
    rate: share of the tokens to mask.
    generator_layers: its depth; None = half of the model's, at least 1.
    discriminator_weight: of its loss (published: 50).
    temperature: of the samples.
    keep_generator: leave it in the finished model's folder.

  Raises:
    ValueError: another head, a tokenizer without [MASK], or a generator that is
      deeper than the model.
  """
  rtd.check(ctx, 'rtd_shared')
  config = generator_config(ctx.model.config, generator_layers)
  generator = models.build(ctx.model.family, kind='mlm', config=config)
  draws = drawn(ctx.tokenizer.mask_id, rate, temperature)
  objective = built(draws, sharing, discriminator_weight, decoupled)
  brought = joining(generator, sharing, keep_generator)
  return dataclasses.replace(objective, method=brought)


def generator_config(
  config: EncoderConfig, layers: int | None = None
) -> EncoderConfig:
  """Returns the generator's sizes: as wide as the model, `layers` deep.

  Args:
    config: of the model.
    layers: None = half of the model's, at least 1.

  Raises:
    ValueError: more layers than the model has.
  """
  count = layers or max(1, config.num_layers // 2)
  if count > config.num_layers:
    raise ValueError(
      f'config.objective.generator_layers={count} exceeds the '
      f'{config.num_layers} layers of the discriminator; give at most that'
    )
  small = dataclasses.replace(
    config,
    num_layers=count,
    mixer=config.names('mixer')[:count],
    ffn=config.names('ffn')[:count],
    per_layer=tuple((f, values[:count]) for f, values in config.per_layer),
  )
  stack = 'mask_decoder' if mask_decoder.able(small) else config.stack
  return dataclasses.replace(small, stack=stack)


def drawn(mask_id: int, rate: float, temperature: float) -> Draws:
  """Returns masks and samples as published.

  Args:
    mask_id: of the tokenizer.
    rate, temperature: see `make`.
  """

  def masked(rng, batch):
    ids = batch['input_ids']
    there = window_masks.chosen(rng, batch, rate, 1)
    hidden = dict(
      batch,
      input_ids=jnp.where(there, mask_id, ids),
      labels=jnp.where(there, ids, -100),
    )
    return mlm.at_chosen(hidden, mlm.most(rate, ids.shape[-1]))

  def sampled(rng, logits):
    noise = jax.random.uniform(rng, logits.shape)
    return rtd.sample(logits, noise, temperature)

  return Draws(masked, sampled)


def built(
  draws: Draws, sharing: str, weight: float, decoupled: bool
) -> Objective:
  """Returns the objective without what it brings.

  Args:
    draws: masks and samples.
    sharing: see the module.
    weight: of the discriminator's loss.
    decoupled: whether it has two phases.
  """

  def generate(apply, params, batch, rng):
    words, seen = _replaced(draws, apply, params, batch, rng, True)
    total, right, count = (x.sum() for x in words)
    metrics = {'loss': (total, count), 'accuracy': (right, count)}
    carry = {name: seen[name] for name in ('input_ids', 'replaced')}
    return total / jnp.maximum(count, 1), metrics, carry

  def discriminate(apply, params, seen, rng):
    logits, (losses, right, real) = _judged(apply, params, seen, rng, True)
    metrics = {
      'loss': (weight * losses.sum(), real.sum()),
      'discriminator_loss': (losses.sum(), real.sum()),
      'accuracy': (right.sum(), real.sum()),
      **{n: (a.sum(), b.sum()) for n, (a, b) in rates(logits, seen).items()},
    }
    return weight * losses.sum() / jnp.maximum(real.sum(), 1), metrics, {}

  def loss(apply, params, batch, rng):
    rngs = jax.random.split(rng)
    value, words, carry = generate(apply, params, batch, rngs[0])
    seen = {**batch, **carry}
    verdict, metrics, _ = discriminate(apply, params, seen, rngs[1])
    total, real = value + verdict, metrics['loss'][1]
    own = {f'generator_{name}': pair for name, pair in words.items()}
    return total, metrics | own | {'loss': (total * real, real)}

  def predict(apply, params, batch):
    # The same masks and samples at every evaluation.
    key = jax.random.key(0)
    words, seen = _replaced(draws, apply, params, batch, key, False)
    logits, (losses, right, real) = _judged(apply, params, seen, None, False)
    found = {
      'loss_sum': losses,
      'correct': right,
      'loss_count': real,
      'generator_loss_sum': words[0],
      'generator_loss_count': words[2],
    }
    for name, (total, count) in rates(logits, seen).items():
      found |= {f'{name}_sum': total, f'{name}_count': count}
    return found

  shared = (TABLES,) if sharing == 'es' else ()
  phases = {
    'generator': Phase(generate, (f'{GENERATOR}/.*', *shared)),
    'discriminator': Phase(discriminate, (rf'(?!{GENERATOR}/).*',)),
  }
  own_means = {'generator_loss': 1.0}
  joint = Objective(loss, predict, terms=own_means)
  return dataclasses.replace(joint, phases=phases) if decoupled else joint


def _replaced(draws, apply, params, batch, rng, train):
  """Sums of the generator; the batch with its samples, and where they are."""
  if GENERATOR not in params:
    raise ValueError(
      'this model has lost its generator, so that nothing replaces tokens; '
      'to evaluate it later, train with objective.keep_generator=True'
    )
  mask_rng, noise_rng, rng = jax.random.split(rng, 3)
  masked = draws.masked(mask_rng, batch)
  words = apply.companions[GENERATOR](
    params[GENERATOR], masked, train=train, rng=rng
  )['logits']
  seen, new = rtd.corrupt(batch, masked, draws.sampled(noise_rng, words))
  return mlm.score(words, masked), {**seen, 'replaced': new}


def _judged(apply, params, seen, rng, train):
  """Logits (B, L) of the discriminator, and the sums of `rtd.score`."""
  logits = apply(params, seen, train=train, rng=rng)['logits']
  return logits, rtd.score(logits, seen['replaced'], seen)


def rates(
  logits: jax.Array, seen: Batch
) -> dict[str, tuple[jax.Array, jax.Array]]:
  """Returns what balanced accuracy is the mean of: {name: (sum, count)}, (B,).

  Args:
    logits: (B, L), above 0 for a replaced token.
    seen: replaced, attention_mask (B, L); weight (B,).

  Returns:
    'sensitivity', the share of replaced tokens that are found, 'specificity',
    that of the others that are let pass, and 'replaced', the share of replaced
    tokens.
  """
  real = seen['attention_mask'] * seen['weight'][:, None]
  new, called = seen['replaced'] * real, logits > 0
  old = real - new
  return {
    'sensitivity': ((called * new).sum(-1), new.sum(-1)),
    'specificity': ((~called * old).sum(-1), old.sum(-1)),
    'replaced': (new.sum(-1), real.sum(-1)),
  }


def joining(generator: Model, sharing: str, keep: bool = False) -> Method:
  """Returns the method that brings the generator and joins the tables.

  Args:
    generator: its module.
    sharing: see the module.
    keep: whether its leaves leave with the finished model.
  """

  def surgery(_, params):
    own, tables = apart(params)
    mine = tree.flatten(params[GENERATOR])
    if sharing == 'es':
      mine = {n: x for n, x in mine.items() if n not in tables}
    else:
      mine |= {name: jnp.copy(x) for name, x in tables.items()}
    if sharing == 'gdes':
      tables = {name: jnp.zeros_like(x) for name, x in tables.items()}
    return tree.unflatten(own | tables) | {GENERATOR: tree.unflatten(mine)}

  def reparam(params, step, rng):
    del step, rng
    if sharing == 'nes' or GENERATOR not in params:
      return params
    own, tables = apart(params)
    mine = tree.flatten(params[GENERATOR])
    if sharing == 'es':
      mine |= tables
    else:
      fixed = {n: jax.lax.stop_gradient(mine[n]) for n in tables}
      tables = {name: fixed[name] + x for name, x in tables.items()}
    return tree.unflatten(own | tables) | {GENERATOR: tree.unflatten(mine)}

  beside = Companion(Apply(generator), keep=keep)
  return Method(
    'rtd_shared',
    companions={GENERATOR: beside},
    surgery=surgery,
    reparam=reparam,
  )


def apart(params: tree.Tree) -> tuple[dict, dict]:
  """Returns the model's other leaves, and the tables that are shared."""
  flat = tree.flatten({n: x for n, x in params.items() if n != GENERATOR})
  tables = {n: x for n, x in flat.items() if tree.matches(TABLES, n)}
  return {n: x for n, x in flat.items() if n not in tables}, tables
