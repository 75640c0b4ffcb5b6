"""The encoder: embeddings and N post-LN blocks with slots.

Devlin et al. 2019, arXiv 1810.04805. A block is x = LN(x + mixer(x)),
x = LN(x + ffn(x)), the latter unless the part brings its own (`adds_residual`);
which mixer, which feed-forward part and which way of running the blocks is a
matter of the config (glue_jax/layers/spec.py).

Parameter names:
  embeddings/{word,position,token_type}/embedding, embeddings/ln/{scale,bias},
  embeddings/projection/{kernel,bias}
  layer_{i}/mixer/{query,key,value,attn_out}/{kernel,bias}, or the mixer's own
  layer_{i}/{ln_attn,ln_ffn}/{scale,bias}
  layer_{i}/ffn/{ffn_in,ffn_out}/{kernel,bias}
A block has one more place, layer_{i}/beside, for plugs of a stack that runs it.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from glue_jax.layers import spec
from glue_jax.layers.context import BatchContext
from glue_jax.layers.embeddings import Embeddings
from glue_jax.layers.norm import LayerNorm
from glue_jax.layers.spec import EncoderConfig

_COLUMNS = '(query|key|value|gate|segment|local|ffn_in|in_proj)'

# (pattern of the parameter name, mesh axes of its dimensions), first match.
# Column then row parallel: one sum over `tensor` for each sublayer.
RULES = (
  (r'.*/word/embedding', ('tensor', 'fsdp')),
  (r'.*/(position|token_type)/embedding', (None, 'fsdp')),
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
  (r'.*/(projection|dense|out)/kernel', ('fsdp', None)),
)


class Block(nn.Module):
  """One mixer and one feed-forward part, each with residual and LayerNorm.

  Without a feed-forward part ('') the block is the mixer's half.
  """

  config: EncoderConfig
  mixer: str
  ffn: str

  def __call__(
    self, x: jax.Array, context: BatchContext, train: bool
  ) -> jax.Array:
    """Maps (B, L, D) to (B, L, D), or to the first `queries` positions."""
    return self.part(x, context, train)

  @nn.compact
  def part(
    self, x: jax.Array, context: BatchContext, train: bool, which: str = ''
  ) -> jax.Array:
    """Runs the block or, for stacks that run it piece by piece, one part.

    Args:
      x: (B, L, D).
      context: see `BatchContext`.
      train: turns dropout on.
      which: '' for all of it; 'mixer' or 'ffn' for that half, each with its
        residual and LayerNorm; 'beside' for what plugs put beside the block,
        zero without them.

    Returns:
      (B, L, D), or the first `queries` positions.
    """
    if which == 'beside':
      nothing = spec.part('mixer', 'identity')(self.config, name='beside')
      return nothing(x, context, train)
    if which != 'ffn':
      x = self._mixed(x, context, train)
    if which != 'mixer' and self.ffn:
      x = self._transformed(x, context, train)
    return nn.with_logical_constraint(x, ('batch', 'length', 'embed'))

  def _mixed(self, x, context, train):
    c = self.config
    mixer = spec.make('mixer', self.mixer, c)
    mixed = mixer(x, context, train)
    x = x[:, : context.queries]
    if mixed.shape != x.shape:
      raise ValueError(
        f'the mixer {self.mixer!r} gave {mixed.shape} where {x.shape} was '
        f'asked for; model.stack={c.stack!r} needs another mixer'
      )
    return self._norm('ln_attn')(x + mixed)

  def _transformed(self, x, context, train):
    ffn = spec.make('ffn', self.ffn, self.config)
    y = ffn(x, context, train)
    if getattr(ffn, 'adds_residual', False):
      return y
    return self._norm('ln_ffn')(x + y)

  def _norm(self, name):
    c = self.config
    eps = c.layer_norm_eps if c.block_norm_eps is None else c.block_norm_eps
    return LayerNorm(eps, c.dtype, name=name)


class Encoder(nn.Module):
  """Token ids to hidden states."""

  config: EncoderConfig

  def setup(self):
    c = self.config
    self.embeddings = Embeddings(c)
    # The third argument of the call, `train`, is a Python bool.
    block = nn.remat(Block, static_argnums=(3,)) if c.remat else Block
    self.layer = [
      block(c, mixer, ffn)
      for mixer, ffn in zip(c.names('mixer'), c.names('ffn'))
    ]

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
      last_hidden (B, L, D) and hidden_states, a tuple of N + 1 of (B, L, D);
      values at padded positions carry no meaning.
    """
    x = self.embeddings(input_ids, token_type_ids, train)
    x = nn.with_logical_constraint(x, ('batch', 'length', 'embed'))
    mask = attention_mask != 0
    # The most negative float swallows any score, so that padding gets exactly
    # zero and a row of nothing but padding stays finite (and uniform).
    bias = jnp.where(mask, 0.0, jnp.finfo(jnp.float32).min)[:, None, None, :]
    context = BatchContext(mask, bias, input_ids, segment_ids)
    run = spec.part('stack', self.config.stack)
    last, states = run(self.layer, x, context, train)
    return {'last_hidden': last, 'hidden_states': states}

  def attend(self, x: jax.Array) -> jax.Array:
    """Scores of the word table as a tied decoder: (B, L, E) to (B, L, V)."""
    return self.embeddings.word.attend(x)
