"""A prompt around the rows of E2S2, before their vectors are averaged.

In the authors' code (WHU-ZQH/E2S2 at 04498ef) it stands as a comment, in
several wordings; whether the paper's models had one is not confirmed.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from glue_jax.method import Context


def wrapper(template: str, ctx: Context, start: int) -> Callable:
  """Returns what wraps rows: noisy, plain, mask, labels, four times (B, L).

  Args:
    template: as '{mask} represents "{text}".'; '' = rows stay as they are.
    ctx: see `Context`.
    start: how many tokens stay before the prompt.

  Raises:
    ValueError: there is no one text in it, a [MASK] that the tokenizer doesn't
      have, or no room for it.
  """
  if not template:
    return lambda *rows: rows
  sides = template.split('{text}')
  if len(sides) != 2:
    raise ValueError(
      f'config.objective.prompt={template!r} has {{text}} {len(sides) - 1} '
      'times; write it once, where the row goes'
    )
  before, after = (_ids(side, ctx.tokenizer) for side in sides)
  config, added = ctx.model.config, len(before) + len(after)
  limit = config.max_positions and config.max_positions - config.position_offset
  longest = max(ctx.lengths, default=1) + added
  if limit and longest > limit:
    raise ValueError(
      f'config.objective.prompt adds {added} tokens, which makes rows of '
      f'{longest}, and the model has {limit} positions; lower data.max_length'
    )

  def wrap(noisy, plain, mask, labels):
    count = mask.sum(-1, keepdims=True)
    none = [0] * len(before), [0] * len(after)
    return (
      wrapped(noisy, count, before, after, start, config.pad_id),
      wrapped(plain, count, before, after, start, config.pad_id),
      jnp.arange(mask.shape[1] + added) < count + added,
      wrapped(labels, count, *none, start, 0),
    )

  return wrap


def wrapped(
  values: jax.Array,
  count: jax.Array,
  before: list[int],
  after: list[int],
  start: int,
  fill: int,
) -> jax.Array:
  """Puts values around each row's text: (B, L + how many they are).

  Args:
    values: (B, L); the last real one stays the last.
    count: (B, 1) real ones.
    before, after: what is put in.
    start: how many of the first ones stay the first.
    fill: what stands behind.
  """
  rows, length = values.shape
  added = len(before) + len(after)
  place = jnp.arange(length)
  place = place + len(before) * (place >= start)
  place += len(after) * (jnp.arange(length) >= count - 1)
  place = jnp.where(jnp.arange(length) < count, place, length + added)
  first = jnp.broadcast_to(start + jnp.arange(len(before)), (rows, len(before)))
  last = count - 1 + len(before) + jnp.arange(len(after))
  out = jnp.full((rows, length + added), fill, values.dtype)
  row = jnp.arange(rows)[:, None]
  for at, what in ((place, values), (first, before), (last, after)):
    what = jnp.asarray(what, values.dtype)
    out = out.at[row, at].set(what, mode='drop')
  return out


def _ids(text: str, tokenizer: Any) -> list[int]:
  """Ids of a prompt's side, {mask} standing for the [MASK]."""
  ids: list[int] = []
  for i, part in enumerate(text.split('{mask}')):
    if i and tokenizer.mask_id is None:
      raise ValueError(
        'config.objective.prompt has {mask}, and the tokenizer has no [MASK] '
        'token; leave it out'
      )
    ids += [tokenizer.mask_id] * bool(i)
    ids += tokenizer.backend.encode(part, add_special_tokens=False).ids
  return ids
