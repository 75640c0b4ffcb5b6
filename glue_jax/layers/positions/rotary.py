"""Rotary positions (Su et al. 2021, arXiv 2104.09864).

Query and key of a head are turned by angles that grow with the position, so
that their product depends on the distance alone. The halves of a head are
turned against each other (entry i with entry i + K/2), as LLaMA's weights in
the hub's layout have it; the paper pairs neighbours.
"""

import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from glue_jax.layers.context import BatchContext
from glue_jax.layers.spec import EncoderConfig


class Positions(nn.Module):
  """Hands the tokens' positions to the attention mixers, which rotate.

  Each layer may have its own base (`rotary_theta`), so the angles are the
  mixer's business.
  """

  config: EncoderConfig

  def __call__(self, context: BatchContext, train: bool) -> BatchContext:
    """Returns the context with `rotary` (B, L)."""
    del train
    return context.replace(rotary=context.positions)


def rotate(
  x: jax.Array, positions: jax.Array, frequencies: jax.Array
) -> jax.Array:
  """Turns heads by their positions; the sines are float32.

  Args:
    x: (B, L, H, K).
    positions: (B, L) int.
    frequencies: (K / 2,), radians a position.

  Returns:
    (B, L, H, K) in the type of `x`.
  """
  angles = positions[..., None, None].astype(jnp.float32) * frequencies
  sin, cos = jnp.sin(angles), jnp.cos(angles)
  first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
  turned = (first * cos - second * sin, second * cos + first * sin)
  return jnp.concatenate(turned, axis=-1).astype(x.dtype)


def frequencies(config: EncoderConfig, width: int) -> jax.Array:
  """Returns radians a position of each pair: (width / 2,) float32.

  theta^(-2i / width), stretched by `rotary_scaling`:
    linear: all divided by `factor` (Chen et al. 2023, arXiv 2306.15595).
    llama3: those of wave lengths beyond `original_max_position_embeddings /
      low_freq_factor` are divided by `factor`, those below `... /
      high_freq_factor` stay, between them it is interpolated (LLaMA 3.1).

  Args:
    config: `rotary_theta` and `rotary_scaling` are read.
    width: of a head, K.
  """
  pairs = jnp.arange(0, width, 2, dtype=jnp.float32) / width
  plain = 1.0 / config.rotary_theta**pairs
  scaling: Mapping[str, Any] = dict(config.rotary_scaling)
  kind = scaling.get('rope_type', 'default')
  if kind == 'default':
    return plain
  slow = plain / scaling['factor']
  if kind == 'linear':
    return slow
  low, high = scaling['low_freq_factor'], scaling['high_freq_factor']
  turns = scaling['original_max_position_embeddings'] * plain / (2 * math.pi)
  share = jnp.clip((turns - low) / (high - low), 0, 1)
  return (1 - share) * slow + share * plain
