"""What a token is drawn from: logits, changed as the settings say.

In this order, that of the library `transformers`: repetition, temperature,
top-k, top-p. Letters: R rows, V tokens of the vocabulary.
"""

import jax
import jax.numpy as jnp

from glue_jax.generation.settings import Settings


def repelled(logits: jax.Array, seen: jax.Array, penalty: float) -> jax.Array:
  """Makes tokens that a row has less likely; see `Settings`.

  Args:
    logits: (R, V).
    seen: (R, V) bool, the tokens that each row has.
    penalty: above 1 repels, below attracts.
  """
  moved = jnp.where(logits < 0, logits * penalty, logits / penalty)
  return jnp.where(seen, moved, logits)


def warped(logits: jax.Array, settings: Settings) -> jax.Array:
  """Returns the logits that a token is drawn by: (R, V), -inf where never.

  Args:
    logits: (R, V).
    settings: `temperature`, `top_k` (Fan et al. 2018, arXiv 1805.04833) and
      `top_p` (Holtzman et al. 2020, arXiv 1904.09751) are read. What ties with
      the last token that is left is left as well.
  """
  logits = logits / settings.temperature
  if settings.top_k is not None:
    count = min(settings.top_k, logits.shape[-1])
    logits = _at_least(logits, jax.lax.top_k(logits, count)[0][:, -1:])
  if settings.top_p < 1:
    up = jnp.sort(logits)
    below = jnp.cumsum(jax.nn.softmax(up), -1) <= 1 - settings.top_p
    lowest = jnp.where(below.at[:, -1].set(False), jnp.inf, up)
    logits = _at_least(logits, lowest.min(-1, keepdims=True))
  return logits


def _at_least(logits, lowest):
  return jnp.where(logits < lowest, -jnp.inf, logits)


def chosen(
  logits: jax.Array, keys: jax.Array | None, settings: Settings
) -> jax.Array:
  """Returns each row's next token, drawn or the likeliest: (R,) int32.

  Args:
    logits: (R, V), after `repelled`.
    keys: (R,) typed keys; read where tokens are drawn.
    settings: see `warped`.
  """
  if not settings.sample:
    return jnp.argmax(logits, -1).astype(jnp.int32)
  draws = jax.vmap(jax.random.categorical)(keys, warped(logits, settings))
  return draws.astype(jnp.int32)


def taken(ids: jax.Array, real: jax.Array, vocab_size: int) -> jax.Array:
  """Returns which tokens each row has: (R, V) bool.

  Args:
    ids: (R, L) int32.
    real: (R, L), False = padding, which doesn't count.
    vocab_size: V.
  """
  rows = jnp.arange(len(ids))[:, None]
  blank = jnp.zeros((len(ids), vocab_size), bool)
  return blank.at[rows, ids].max(real)
