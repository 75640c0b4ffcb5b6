"""The pass over the prompt, and one step over the cache that it leaves."""

from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from glue_jax import tree
from glue_jax.generation import next_token
from glue_jax.generation.settings import Settings
from glue_jax.plugs import Apply, decoded_field


class Prompt(flax.struct.PyTreeNode):
  """What is there before the first token is written.

  Attributes:
    logits: (B, V) float32 of that token.
    cache: with the prompt in it.
    seen: (B, V) bool, tokens that each row has; None where nobody asks.
  """

  logits: jax.Array
  cache: tree.Tree
  seen: jax.Array | None


def begin(
  apply: Apply,
  params: tree.Tree,
  batch: Mapping[str, Any],
  settings: Settings,
  pad_id: int,
) -> Prompt:
  """Reads the prompts, or encodes the input.

  Args:
    apply, params, batch, settings, pad_id: see `generate.generate`.
  """
  c = apply.model.config
  ids = jnp.asarray(batch['input_ids'], jnp.int32)
  mask = batch.get('attention_mask')
  mask = ids != pad_id if mask is None else jnp.asarray(mask) != 0
  if decoded_field(apply.model) == 'input_ids':
    ids, mask = to_left(ids, mask)
    given = {'input_ids': ids, 'attention_mask': mask}
    # Of a decoder the first new token follows the last column.
    room, last = ids.shape[1] + settings.max_new_tokens, ids.shape[1] - 1
    own, real = ids, mask
  else:
    own = jnp.full((len(ids), 1), c.start_id, jnp.int32)
    given = {
      'input_ids': ids, 'attention_mask': mask, 'decoder_input_ids': own,
    }  # fmt: skip
    room, last, real = settings.max_new_tokens, 0, jnp.ones_like(own, bool)
  given['positions'] = jnp.full((len(ids), 1), last, jnp.int32)
  cache = apply.init_cache(params, given, room)
  outputs, cache = apply.decode(params, cache, given)
  seen = None
  if settings.repetition_penalty != 1:
    seen = next_token.taken(own, real, c.vocab_size)
  return Prompt(outputs['logits'][:, 0], cache, seen)


def ask(
  apply: Apply, params: tree.Tree, cache: tree.Tree, tokens: jax.Array
) -> tuple[jax.Array, tree.Tree]:
  """Runs the model on one more token of each row.

  Args:
    apply, params: see `generate.generate`.
    cache: with the tokens before.
    tokens: (R,) int32.

  Returns:
    (logits (R, V) of the next token, the cache with this one).
  """
  field = decoded_field(apply.model)
  name = field.replace('input_ids', 'attention_mask')
  given = {field: tokens[:, None], name: jnp.ones_like(tokens)[:, None]}
  outputs, cache = apply.decode(params, cache, given)
  return outputs['logits'][:, 0], cache


def to_left(ids: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Moves padding before the tokens, which keep their order: (B, L) each.

  Args:
    ids: (B, L).
    mask: (B, L) bool, True = real token.
  """
  order = jnp.argsort(mask, axis=1, stable=True)
  return (
    jnp.take_along_axis(ids, order, axis=1),
    jnp.take_along_axis(mask, order, axis=1),
  )
