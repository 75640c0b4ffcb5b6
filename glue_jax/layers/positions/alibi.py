"""Attention with linear biases (Press et al. 2022, arXiv 2108.12409).

A head's scores fall by its slope for each position that the key lies back.
"""

import math

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from glue_jax.layers.context import BatchContext
from glue_jax.layers.spec import EncoderConfig


class Positions(nn.Module):
  """Adds slope * (position of the key) to the scores; no parameters.

  The paper's term, slope * (key - query), differs by a constant of each query,
  which the softmax takes off again.
  """

  config: EncoderConfig

  def __call__(self, context: BatchContext, train: bool) -> BatchContext:
    """Returns the context with `bias` (B, H, L, M)."""
    del train
    rate = jnp.asarray(slopes(self.config.num_heads))[:, None, None]
    keys = context.key_positions[:, None, None, :].astype(jnp.float32)
    # From the last key on, so that the largest score isn't moved.
    keys -= keys.max(-1, keepdims=True)
    # Padding stays at the most negative float: less would be infinite.
    low = jnp.finfo(jnp.float32).min
    return context.replace(bias=jnp.maximum(context.bias + rate * keys, low))


def slopes(heads: int) -> np.ndarray:
  """Returns each head's slope: (H,) float32.

  2^(-8 (h + 1) / H) for a power of two H; else those of the next power of two,
  every second one first, as MPT's code has it.
  """
  whole = 2 ** math.ceil(math.log2(heads))
  powers = 2.0 ** (-8 * np.arange(1, whole + 1) / whole)
  if whole != heads:
    powers = np.concatenate([powers[1::2], powers[::2]])[:heads]
  return powers.astype(np.float32)
