"""Causal language modelling: each token is predicted from those before it.

Radford et al. 2018 (GPT), eq. 1. The loss is the mean over all pairs of
neighbouring real tokens of the batch.

Use it: to pre-train a decoder on plain text, or to go on with that.
Costs: logits over the vocabulary at every position.
Not with: an encoder: a token that sees the next one has nothing to learn.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from glue_jax.method import Context, Facts, Objective
from glue_jax.objectives.task import cross_entropy

FACTS = Facts(
  small={},
  needs=dict(
    task=dict(name='corpus', kind='language_modeling'),
    data=dict(files='CORPUS'),
    model=dict(name='llama', num_kv_heads=1),
  ),
)


def make(ctx: Context) -> Objective:
  """Returns the objective.

  Raises:
    ValueError: the model is no decoder with a head over the vocabulary.
  """
  if ctx.model.kind != 'causal_lm':
    raise ValueError(
      f"config.objective: 'causal_lm' needs a decoder; model.name="
      f'{ctx.model.family!r} with the head {ctx.model.kind!r} is none'
    )

  def loss(apply, params, batch, rng):
    logits = apply(params, batch, train=True, rng=rng)['logits']
    total, right, count = (x.sum() for x in score(logits, batch))
    metrics = {'loss': (total, count), 'accuracy': (right, count)}
    return total / jnp.maximum(count, 1), metrics

  def predict(apply, params, batch):
    losses, right, count = score(apply(params, batch)['logits'], batch)
    return {'loss_sum': losses, 'correct': right, 'loss_count': count}

  return Objective(loss, predict)


def score(
  logits: jax.Array, batch: Mapping[str, jax.Array]
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Sums of each row (B,): losses, right guesses and count of predicted tokens.

  Args:
    logits: (B, L, V).
    batch: input_ids and attention_mask (B, L); weight (B,).
  """
  pairs = real_pairs(batch['attention_mask']) * batch['weight'][:, None]
  labels = batch['input_ids'][:, 1:]
  losses = cross_entropy(logits[:, :-1], labels) * pairs
  right = (jnp.argmax(logits[:, :-1], -1) == labels) * pairs
  return losses.sum(-1), right.sum(-1), pairs.sum(-1)


def token_log_probabilities(
  logits: jax.Array, ids: jax.Array, mask: jax.Array
) -> jax.Array:
  """Log-probability of token t + 1 at position t, 0 where either is padding.

  Args:
    logits: (B, L, V).
    ids: (B, L) int32.
    mask: (B, L), 1 = real token.

  Returns:
    (B, L - 1) float32.
  """
  return -cross_entropy(logits[:, :-1], ids[:, 1:]) * real_pairs(mask)


def real_pairs(mask: jax.Array) -> jax.Array:
  """Returns where a token and the next one are real: (B, L - 1) float32."""
  real = (mask != 0).astype(jnp.float32)
  return real[:, :-1] * real[:, 1:]
