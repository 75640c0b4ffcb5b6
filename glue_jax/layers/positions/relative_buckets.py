"""Relative positions in buckets (Raffel et al. 2020, arXiv 1910.10683; T5).

A table gives each head a bias for each bucket of distances; small distances
have one of their own, larger ones share them logarithmically. One table for
all layers of a stack. MPNet has the same.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.config.ranges import Count
from glue_jax.layers.context import BatchContext
from glue_jax.layers.dense import spread
from glue_jax.layers.spec import EncoderConfig


class Positions(nn.Module):
  """Adds the bias of the distance from query to key to the scores.

  Attributes:
    config: sizes and parts; `causal` decides whether later keys have buckets.
    buckets: rows of the table.
    max_distance: from here on all distances share the last bucket.
  """

  config: EncoderConfig
  buckets: Count = 32
  max_distance: Count = 128

  @nn.compact
  def __call__(self, context: BatchContext, train: bool) -> BatchContext:
    """Returns the context with `bias` (B, H, L, M)."""
    del train
    c = self.config
    table = self.param(
      'embedding',
      nn.initializers.normal(spread(c, 'positions')),
      (self.buckets, c.num_heads),
    )
    ahead = context.key_positions[:, None, :] - context.positions[:, :, None]
    rows = bucket(ahead, self.buckets, self.max_distance, not c.causal)
    bias = table[rows].transpose(0, 3, 1, 2)
    low = jnp.finfo(jnp.float32).min
    return context.replace(bias=jnp.maximum(context.bias + bias, low))


def bucket(
  ahead: jax.Array, buckets: int, max_distance: int, both: bool
) -> jax.Array:
  """Returns the bucket of a distance.

  Args:
    ahead: position of the key less that of the query, int of any shape.
    buckets: how many there are.
    max_distance: from here on it is the last one.
    both: whether keys ahead have buckets of their own (half of them); else
      they share the first one.
  """
  base: jax.Array | int = 0
  if both:
    buckets //= 2
    base = jnp.where(ahead > 0, buckets, 0)
    distance = jnp.abs(ahead)
  else:
    distance = jnp.maximum(-ahead, 0)
  exact = buckets // 2
  # The float32 of the reference decides on which side a bound falls.
  far = jnp.log(jnp.maximum(distance, 1).astype(jnp.float32) / exact)
  far = far / np.float32(np.log(max_distance / exact)) * (buckets - exact)
  far = jnp.minimum(exact + far.astype(jnp.int32), buckets - 1)
  return base + jnp.where(distance < exact, distance, far)
