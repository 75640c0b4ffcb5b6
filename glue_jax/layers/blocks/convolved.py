"""A block whose input goes through a convolution as well (DeBERTa v2).

y = block(x); x = norm(y + act(dropout(conv(x)))), zero at padding: the first
block of the largest sizes, for what neighbours say (release notes of the
official code, 2021; the paper doesn't have it).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from glue_jax.layers.activations import activation
from glue_jax.layers.blocks import post
from glue_jax.layers.context import BatchContext
from glue_jax.layers.dropout import Dropout


class Block(post.Block):
  """See the file. Options: {'convolved': {'kernel_size': 3, 'activation': ..}}.

  It runs as a whole only: not by a stack that takes it apart.
  """

  @nn.compact
  def part(
    self, x: jax.Array, context: BatchContext, train: bool, which: str = ''
  ) -> jax.Array:
    c = self.config
    if which:
      raise ValueError(
        f"model.block='convolved' has no part {which!r} of its own; give "
        "model.stack='plain'"
      )
    options = dict(dict(c.options).get('convolved', ()))
    y = super().part(x, context, train)
    convolve = nn.Conv(
      c.hidden_size,
      (options.get('kernel_size', 3),),
      dtype=jnp.dtype(c.dtype),
      kernel_init=nn.initializers.normal(c.init_range),
      name='conv',
    )
    real = context.mask[..., None]
    out = Dropout(c.dropout)(jnp.where(real, convolve(x), 0), train)
    out = activation(options.get('activation', 'tanh'))(out)
    out = self.norm('ln_conv')(y + out[:, : context.queries])
    return jnp.where(real[:, : context.queries], out, 0)
