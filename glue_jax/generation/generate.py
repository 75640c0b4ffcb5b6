"""From prompts to tokens: the first pass over the prompt, then step by step.

  write = jax.jit(functools.partial(
    generate, apply, settings=Settings(), end_ids=(2,), pad_id=0))
  tokens = write(params, batch)

is one program for each shape of the batch: a `jax.lax.while_loop` over a cache
of static size that ends when all rows have.
"""

from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from glue_jax import tree
from glue_jax.generation import beam, next_token
from glue_jax.generation.prompt import Prompt, ask, begin
from glue_jax.generation.settings import Settings, check
from glue_jax.plugs import Apply


class Written(flax.struct.PyTreeNode):
  """What is carried from step to step.

  Attributes:
    step: () int32, tokens written so far.
    tokens: (B, T) int32, padding where none is yet or a row has ended.
    last: (B,) int32, the newest.
    ended: (B,) bool.
    seen: (B, V) bool, the tokens of each row; None where nobody asks.
    cache: see glue_jax/layers/cache.py.
  """

  step: jax.Array
  tokens: jax.Array
  last: jax.Array
  ended: jax.Array
  seen: jax.Array | None
  cache: tree.Tree


def generate(
  apply: Apply,
  params: tree.Tree,
  batch: Mapping[str, Any],
  rng: jax.Array | None = None,
  *,
  settings: Settings,
  end_ids: tuple[int, ...],
  pad_id: int,
) -> jax.Array:
  """Writes a text after each prompt; a pure function, to be jitted.

  Args:
    apply: the model with its plugs, which act as in training.
    params: its tree.
    batch: input_ids (B, L) and attention_mask, padding on either side: the
      prompts of a decoder, the input of an encoder-decoder. Optional idx (B,):
      a row's draws depend on the key and its idx, not on its batch.
    rng: typed key, where tokens are drawn.
    settings: how.
    end_ids: tokens that end a text.
    pad_id: follows after.

  Returns:
    (B, T) int32: the new tokens with the end token, then padding.

  Raises:
    ValueError: see `settings.check`, and a missing key.
  """
  check(apply.model, settings, end_ids, batch['input_ids'].shape[1])
  if settings.sample and rng is None:
    raise ValueError('sample=True needs a key: generate(..., rng)')
  prompt = begin(apply, params, batch, settings, pad_id)
  if settings.beams > 1:
    return beam.search(apply, params, prompt, settings, end_ids, pad_id)
  rows = len(prompt.logits)
  idx = batch.get('idx', jnp.arange(rows))
  keys = None
  if settings.sample:
    keys = jax.vmap(lambda i: jax.random.fold_in(rng, i))(idx)

  def write(state: Written, logits: jax.Array) -> Written:
    """Chooses the rows' next tokens."""
    if state.seen is not None:
      logits = next_token.repelled(
        logits, state.seen, settings.repetition_penalty
      )
    now = None
    if keys is not None:
      now = jax.vmap(lambda key: jax.random.fold_in(key, state.step))(keys)
    token = next_token.chosen(logits, now, settings)
    token = jnp.where(state.ended, pad_id, token)
    seen = state.seen
    if seen is not None:
      seen = seen.at[jnp.arange(rows), token].set(True)
    return state.replace(
      step=state.step + 1,
      tokens=state.tokens.at[:, state.step].set(token),
      last=token,
      ended=state.ended | jnp.isin(token, jnp.array(end_ids)),
      seen=seen,
    )

  def go_on(state: Written) -> Written:
    logits, cache = ask(apply, params, state.cache, state.last)
    return write(state.replace(cache=cache), logits)

  def unfinished(state: Written) -> jax.Array:
    return (state.step < settings.max_new_tokens) & ~state.ended.all()

  first = write(_blank(prompt, settings, pad_id), prompt.logits)
  return jax.lax.while_loop(unfinished, go_on, first).tokens


def _blank(prompt: Prompt, settings: Settings, pad_id: int) -> Written:
  rows = len(prompt.logits)
  return Written(
    step=jnp.zeros((), jnp.int32),
    tokens=jnp.full((rows, settings.max_new_tokens), pad_id, jnp.int32),
    last=jnp.zeros(rows, jnp.int32),
    ended=jnp.zeros(rows, bool),
    seen=prompt.seen,
    cache=prompt.cache,
  )
