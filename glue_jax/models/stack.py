"""Embeddings, positions, N blocks, a last norm: what all models are made of.

An encoder (Devlin et al. 2019, arXiv 1810.04805) and a decoder (Radford et al.
2018) differ in what a token may attend to; the rest is a matter of the config,
whose fields name a file for each slot (glue_jax/layers/spec.py).

Parameter names:
  embeddings/{word,position,token_type}/embedding, embeddings/ln/{scale,bias},
  embeddings/projection/{kernel,bias}
  positions/..., where they have parameters
  layer_{i}/mixer/{query,key,value,attn_out}/{kernel,bias}, or the mixer's own
  layer_{i}/cross/..., as mixer/, where there are two stacks
  layer_{i}/{ln_attn,ln_cross,ln_ffn}/{scale,bias}
  layer_{i}/ffn/{ffn_in,ffn_gate,ffn_out}/{kernel,bias}
  final_norm/{scale,bias}, projection/kernel
A block has one more place, layer_{i}/beside, for plugs of a stack that runs it.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from glue_jax.layers import cache, spec
from glue_jax.layers.context import BatchContext
from glue_jax.layers.dense import dense
from glue_jax.layers.dropout import Dropout
from glue_jax.layers.spec import EncoderConfig

_COLUMNS = (
  '(query|key|value|position_query|position_key|gate|segment|local|ffn_in|'
  'ffn_gate|in_proj)'
)

# (pattern of the parameter name, mesh axes of its dimensions), first match.
# Column then row parallel: one sum over `tensor` for each sublayer.
RULES = (
  (r'.*/word/embedding', ('tensor', 'fsdp')),
  (r'.*/(position|token_type|absolute)/embedding', (None, 'fsdp')),
  (r'.*/positions/embedding', (None, None)),
  (rf'.*/{_COLUMNS}/kernel', ('fsdp', 'tensor')),
  (rf'.*/{_COLUMNS}/bias', ('tensor',)),
  (r'.*/experts_in/kernel', ('expert', 'fsdp', 'tensor')),
  (r'.*/experts_in/bias', ('expert', 'tensor')),
  (r'.*/experts_out/kernel', ('expert', 'tensor', 'fsdp')),
  (r'.*/(experts_out|ln_experts)/(bias|scale)', ('expert', None)),
  (r'.*/permutation/log_weights', (None, None, None)),
  (r'.*/(attn_out|ffn_out|out_proj)/kernel', ('tensor', 'fsdp')),
  (r'.*/(attn_out|ffn_out|out_proj)/bias', (None,)),
  (r'.*/(scale|bias)', (None,)),
  (r'.*/conv/kernel', (None, None, 'fsdp')),
  (r'.*/conv/bias', (None,)),
  (r'.*/words/kernel', ('fsdp', 'tensor')),
  (r'.*/(projection|dense|out)/kernel', ('fsdp', None)),
)


class Stack(nn.Module):
  """Token ids to hidden states.

  Attributes:
    config: sizes and parts.
    cross: whether the blocks attend to `context.memory` as well.
    words: word table of another stack, in place of an own one.
  """

  config: EncoderConfig
  cross: bool = False
  words: nn.Module | None = None

  def setup(self):
    c = self.config
    given = {} if self.words is None else {'shared': self.words}
    self.embeddings = spec.make('embeddings', c.embeddings, c, **given)
    if c.positions:
      self.positions = spec.make('positions', c.positions, c)
    parts = list(enumerate(zip(c.names('mixer'), c.names('ffn'))))
    if c.shared_layers:
      parts = parts[:1]
    layers = [self._block(c.layer(i), *names) for i, names in parts]
    self.layer = layers * c.num_layers if c.shared_layers else layers
    if c.final_norm:
      self.final_norm = spec.part('norm', c.norm)(c.layer_norm_eps, c.dtype)
      self.final_drop = Dropout(c.final_dropout)
    if c.project_back:
      width = c.embedding_size or c.hidden_size
      self.projection = dense(c, width, use_bias=False)

  def _block(self, config, mixer, ffn):
    block = spec.part('block', config.block)
    if config.remat:
      # The third argument of the call, `train`, is a Python bool.
      block = nn.remat(block, static_argnums=(3,))
    return block(config, mixer, ffn, self.cross)

  def run(
    self, input_ids: jax.Array, context: BatchContext, train: bool
  ) -> dict[str, Any]:
    """Embeds tokens and runs the blocks.

    Args:
      input_ids: (B, L) int32.
      context: what the parts read of the batch, see there.
      train: turns dropout on.

    Returns:
      last_hidden (B, L, D) and hidden_states, a tuple of N + 1 of (B, L, D),
      the last of them after `final_norm` and what follows; values at padded
      positions carry no meaning.
    """
    x = self.embeddings(input_ids, context, train)
    x = nn.with_logical_constraint(x, ('batch', 'length', 'embed'))
    if self.config.positions:
      context = self.positions(context, train)
    run = spec.part('stack', self.config.stack)
    last, states = run(self.layer, x, context, train)
    if self.config.final_norm:
      last = self.final_drop(self.final_norm(last), train)
    if self.config.project_back:
      last = self.projection(last)
    states = (*states[:-1], last)
    return {'last_hidden': last, 'hidden_states': states}

  def attend(self, x: jax.Array) -> jax.Array:
    """Scores of the word table as a tied decoder: (B, L, E) to (B, L, V)."""
    return self.embeddings.word.attend(x)


class Encoder(Stack):
  """Every token attends to every real one."""

  def __call__(
    self,
    input_ids: jax.Array,
    attention_mask: jax.Array,
    token_type_ids: jax.Array,
    train: bool = False,
    segment_ids: jax.Array | None = None,
  ) -> dict[str, Any]:
    """Encodes.

    Args:
      input_ids: (B, L) int32.
      attention_mask: (B, L), 1 = real token.
      token_type_ids: (B, L) int32.
      train: turns dropout on.
      segment_ids: (B, L) int, for mixers that pool over segments.

    Returns:
      see `Stack.run`.
    """
    mask = attention_mask != 0
    places = jnp.arange(input_ids.shape[1], dtype=jnp.int32)
    places = jnp.broadcast_to(places, input_ids.shape)
    context = BatchContext(
      mask=mask,
      bias=excluded(mask)[:, None, None, :],
      input_ids=input_ids,
      segment_ids=segment_ids,
      token_type_ids=token_type_ids,
      positions=places,
      key_positions=places,
    )
    return self.run(input_ids, context, train)


class Decoder(Stack):
  """A token attends to itself and earlier ones.

  Positions count real tokens only, so that padding changes nothing, on either
  side. Where the collection `cache` may change, the tokens come after those
  that it has (layers/cache.py).
  """

  def setup(self):
    super().setup()
    self.tokens = cache.Tokens()

  def __call__(
    self,
    input_ids: jax.Array,
    attention_mask: jax.Array,
    train: bool = False,
    memory: jax.Array | None = None,
    memory_mask: jax.Array | None = None,
  ) -> dict[str, Any]:
    """Runs the stack.

    Args:
      input_ids: (B, L) int32.
      attention_mask: (B, L), 1 = real token; padding on either side.
      train: turns dropout on.
      memory: (B, M, D), an encoder's states, where the blocks attend across;
        not once the cache has their keys.
      memory_mask: (B, M), 1 = real token; None as `memory`.

    Returns:
      see `Stack.run`.
    """
    mask = attention_mask != 0
    length = input_ids.shape[1]
    seen, start, first = mask, None, 0
    if cache.kept(self):
      seen, start, memory_mask = self.tokens(mask, memory_mask)
      first = start
    earlier = jnp.arange(seen.shape[1]) <= first + jnp.arange(length)[:, None]
    places = real_positions(seen)
    context = BatchContext(
      mask=mask,
      bias=excluded(seen[:, None, None, :] & earlier),
      input_ids=input_ids,
      positions=jax.lax.dynamic_slice_in_dim(places, first, length, 1),
      key_positions=places,
      cache_start=start,
    )
    if self.cross:
      bias = excluded(memory_mask != 0)[:, None, None, :]
      context = context.replace(memory=memory, memory_bias=bias)
    return self.run(input_ids, context, train)


def excluded(allowed: jax.Array) -> jax.Array:
  """Returns what is added to scores: 0 where allowed, else very negative.

  The most negative float swallows any score, so that what isn't allowed gets
  exactly zero, and a row of which nothing is stays finite (and uniform).

  Args:
    allowed: bool of any shape.
  """
  return jnp.where(allowed, 0.0, jnp.finfo(jnp.float32).min)


def real_positions(mask: jax.Array) -> jax.Array:
  """Returns 0, 1, ... of each row's real tokens: (B, L) int32.

  Padding before them has 0, so that it changes nothing, on either side.

  Args:
    mask: (B, L) bool, True = real token.
  """
  return jnp.maximum(jnp.cumsum(mask, axis=1, dtype=jnp.int32) - 1, 0)


def shifted(ids: jax.Array, config: EncoderConfig) -> jax.Array:
  """Returns what a decoder is given to predict a text: (B, T) int32.

  Args:
    ids: (B, T), the text; a negative one (no target) counts as padding.
    config: `start_id` comes first, `pad_id` stands for negative ids.
  """
  start = jnp.full_like(ids[:, :1], config.start_id)
  before = jnp.concatenate([start, ids[:, :-1]], axis=1)
  return jnp.where(before < 0, config.pad_id, before)
