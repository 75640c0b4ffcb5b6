"""Parts that add nothing: an encoder without mixing, or without an FFN."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from glue_jax.layers.spec import EncoderConfig


class Mixer(nn.Module):
  """Adds zero to the residual: tokens don't see each other."""

  config: EncoderConfig

  def __call__(
    self, x: jax.Array, context: dict[str, Any], train: bool
  ) -> jax.Array:
    """Maps (B, L, D) to zeros (B, L, D)."""
    del context, train
    return jnp.zeros_like(x)


class FFN(Mixer):
  """Adds zero to the residual: positions aren't transformed."""
