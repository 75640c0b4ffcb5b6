"""What all blocks share: which sublayers there are, and in which order.

A block is a mixer, in a decoder that reads an encoder a second one over its
states (`cross`), and a feed-forward part. A file beside this one says how each
is joined to the hidden states (`joined`). Parameter names:

  mixer/..., cross/..., ffn/...; ln_attn, ln_cross, ln_ffn
"""

from collections.abc import Callable

import flax.linen as nn
import jax

from glue_jax.layers import spec
from glue_jax.layers.context import BatchContext
from glue_jax.layers.spec import EncoderConfig

Part = Callable[[jax.Array], jax.Array]


class Sublayers(nn.Module):
  """The sublayers one after another.

  Without a feed-forward part ('') the block is the mixer's half.

  Attributes:
    config: sizes and parts, those of this layer.
    mixer: file of layers/mixers.
    ffn: file of layers/ffn, or ''.
    cross: whether `context.memory` is attended to.
  """

  config: EncoderConfig
  mixer: str
  ffn: str
  cross: bool = False

  # Whether a part with a residual sum and norm of its own fits in.
  WHOLE = True

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
        residual and norm; 'beside' for what plugs put beside the block, zero
        without them.

    Returns:
      (B, L, D), or the first `queries` positions.
    """
    if which == 'beside':
      nothing = spec.part('mixer', 'identity')(self.config, name='beside')
      return nothing(x, context, train)
    if which != 'ffn':
      x = self._mixed(x, context, train)
      if self.cross:
        x = self._attended(x, context, train)
    if which != 'mixer' and self.ffn:
      x = self._transformed(x, context, train)
    return nn.with_logical_constraint(x, ('batch', 'length', 'embed'))

  def joined(self, norm: str, x: jax.Array, part: Part) -> jax.Array:
    """Returns the states after a sublayer: (B, L, D), here the plain sum.

    Args:
      norm: name of the sublayer's norm.
      x: states before it; the residual is its first positions where `part`
        gives fewer.
      part: the sublayer.
    """
    del norm
    y = part(x)
    return x[:, : y.shape[1]] + y

  def norm(self, name: str) -> nn.Module:
    """Returns the block's norm, to be called on (B, L, D)."""
    c = self.config
    eps = c.layer_norm_eps if c.block_norm_eps is None else c.block_norm_eps
    return spec.part('norm', c.norm)(eps, c.dtype, name=name)

  def _mixed(self, x, context, train):
    c = self.config
    mixer = spec.make('mixer', self.mixer, c, name='mixer')
    wanted = x[:, : context.queries].shape

    def mix(y):
      mixed = mixer(y, context, train)
      if mixed.shape != wanted:
        raise ValueError(
          f'the mixer {self.mixer!r} gave {mixed.shape} where {wanted} was '
          f'asked for; model.stack={c.stack!r} needs another mixer'
        )
      return mixed

    return self.joined('ln_attn', x, mix)

  def _attended(self, x, context, train):
    attend = spec.make(
      'mixer', 'attention', self.config, cross=True, name='cross'
    )
    return self.joined('ln_cross', x, lambda y: attend(y, context, train))

  def _transformed(self, x, context, train):
    ffn = spec.make('ffn', self.ffn, self.config, name='ffn')
    if getattr(ffn, 'adds_residual', False):
      if not self.WHOLE:
        raise ValueError(
          f'model.ffn={self.ffn!r} brings its own residual sum and norm, which '
          f'does not go with model.block={self.config.block!r}; give '
          f'model.options[{self.ffn!r}] inside=False'
        )
      return ffn(x, context, train)
    return self.joined('ln_ffn', x, lambda y: ffn(y, context, train))
