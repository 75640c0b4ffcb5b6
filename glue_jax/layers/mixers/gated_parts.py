"""What Hydra and the other matrix mixers share around their matrix.

Hwang et al. 2024, arXiv 2407.09941, and the official code: one projection in,
a short convolution over neighbours, the matrix, RMSNorm, a gate, one
projection out. There is no feed-forward part besides.
"""

import math
from collections.abc import Callable
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp

from glue_jax.config.ranges import OneOf
from glue_jax.layers.context import BatchContext
from glue_jax.layers.dense import uniform
from glue_jax.layers.spec import EncoderConfig

# 'official' zeroes hidden states at padding before each mixer, as the official
# code does; the convolution's bias makes them non-zero again, so that they
# reach real tokens. 'strict' keeps them out everywhere.
PAD_MODES = ('strict', 'official')
PadMode = Annotated[str, OneOf(PAD_MODES)]


class Convolution(nn.Module):
  """Each channel's own filter over neighbouring tokens, centred, zero-padded.

  Attributes:
    size: of the filter, odd.
    dtype: of the computation.
  """

  size: int
  dtype: str = 'float32'

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps (B, L, C) to (B, L, C).

    Raises:
      ValueError: an even size has no centre.
    """
    if self.size < 1 or self.size % 2 == 0:
      raise ValueError(f'kernel_size={self.size}: expected an odd number')
    # As the library of the official code: uniform in +-1/sqrt(size).
    init = uniform(1 / math.sqrt(self.size))
    kernel = self.param('kernel', init, (self.size, 1, x.shape[-1]))
    bias = self.param('bias', init, (x.shape[-1],))
    kernel, bias = kernel.astype(self.dtype), bias.astype(self.dtype)
    reach, length = self.size // 2, x.shape[1]
    x = jnp.pad(x.astype(self.dtype), ((0, 0), (reach, reach), (0, 0)))
    # Shifted sums, which compilers fuse; a CPU's convolution of single
    # channels isn't vectorised.
    y = sum(x[:, i : i + length] * kernel[i, 0] for i in range(self.size))
    return y + bias


class GatedNorm(nn.Module):
  """RMSNorm, then the gate: x / rms(x) * scale * SiLU(z).

  Attributes:
    eps: added to the mean square.
    dtype: of the result; statistics are float32.
  """

  eps: float = 1e-5
  dtype: str = 'float32'

  @nn.compact
  def __call__(self, x: jax.Array, z: jax.Array) -> jax.Array:
    """Maps (B, L, E) and the gate's (B, L, E) to (B, L, E)."""
    scale = self.param('scale', nn.initializers.ones, (x.shape[-1],))
    x, z = x.astype(jnp.float32), z.astype(jnp.float32)
    square = jnp.square(x).mean(-1, keepdims=True)
    x *= jax.lax.rsqrt(square + self.eps) * scale
    return (x * jax.nn.silu(z)).astype(self.dtype)


def dt_bias_init(
  least: float = 1e-3, most: float = 0.1, floor: float = 1e-4
) -> Callable[..., jax.Array]:
  """Initialiser: softplus of it is log-uniform in [least, most]."""

  def init(key, shape, dtype=jnp.float32):
    log = jax.random.uniform(
      key, shape, jnp.float32, math.log(least), math.log(most)
    )
    value = jnp.maximum(jnp.exp(log), floor)
    return (value + jnp.log(-jnp.expm1(-value))).astype(dtype)

  return init


def keep_real(x: jax.Array, context: BatchContext) -> jax.Array:
  """Zeroes (B, L, ...) at padding."""
  mask = context.mask
  return jnp.where(mask.reshape(mask.shape + (1,) * (x.ndim - 2)), x, 0)


def inner_size(config: EncoderConfig, expand: int, head_dim: int) -> int:
  """E = expand * D.

  Raises:
    ValueError: `head_dim` does not divide it.
  """
  inner = expand * config.hidden_size
  if head_dim < 1 or inner % head_dim:
    raise ValueError(
      f'head_dim={head_dim} does not divide expand * hidden_size = {inner}'
    )
  return inner


def check_pad_mode(pad_mode: str) -> None:
  """Raises ValueError for an unknown treatment of padding."""
  if pad_mode not in PAD_MODES:
    raise ValueError(f'pad_mode={pad_mode!r}; expected one of {PAD_MODES}')
