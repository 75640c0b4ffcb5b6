"""Hydra's block (Hwang et al. 2024, arXiv 2407.09941): mixer and FFN in one.

in_proj to a gate z, values and both directions' B and C (xBC), and step sizes;
a centred convolution and SiLU on xBC; the quasiseparable matrix
(glue_jax/kernels/quasiseparable/quasiseparable.py) with diagonal W_D x + D;
RMSNorm, gate, out_proj. W_D sees all channels, as in the official code; the
paper writes a diagonal of the position only.

Parameter names are the official ones: layer_{i}/mixer/{in_proj,conv1d,fc_D,
norm,out_proj} and the bare dt_bias, A_log, D, init_states.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from glue_jax.config.ranges import Count, NonNegative
from glue_jax.kernels.quasiseparable.quasiseparable import quasiseparable
from glue_jax.layers.context import BatchContext
from glue_jax.layers.dense import dense
from glue_jax.layers.mixers import gated_parts
from glue_jax.layers.spec import EncoderConfig


class Mixer(nn.Module):
  """The block.

  Attributes:
    config: `hidden_size` D, initialiser and type are read.
    state_size: N, at least 1.
    head_dim: P; must divide E = expand * D.
    groups: G, of heads with B and C in common.
    expand: E / D.
    kernel_size: of the convolution, odd.
    bias: of the two projections.
    learn_initial_state: states (H, P, N) before the first token of either
      direction, zero at the start.
    dt_limit: step sizes are clipped to it; None doesn't.
    pad_mode: see `gated_parts.PAD_MODES`.
    chunk: see `kernels.quasiseparable`.
    implementation: see there.
  """

  config: EncoderConfig
  state_size: Count = 64
  head_dim: Count = 64
  groups: Count = 1
  expand: Count = 2
  kernel_size: Count = 7
  bias: bool = False
  learn_initial_state: bool = False
  dt_limit: tuple[NonNegative, NonNegative] | None = None
  pad_mode: gated_parts.PadMode = 'strict'
  chunk: Count | None = None
  implementation: str | None = None

  @nn.compact
  def __call__(
    self, x: jax.Array, context: BatchContext, train: bool
  ) -> jax.Array:
    """Maps (B, L, D) to (B, L, D), without the residual.

    Args:
      x: hidden states (B, L, D).
      context: `mask` (B, L) bool is read.
      train: not read; the block has no dropout.

    Raises:
      ValueError: sizes that don't divide, or an unknown option.
    """
    del train
    c = self.config
    inner, heads = self.sizes()
    x = gated_parts.keep_real(x, context)
    mixed = inner + 4 * self.groups * self.state_size
    width = inner + mixed + 2 * heads
    y = dense(c, width, use_bias=self.bias, name='in_proj')(x)
    z, xbc, steps = jnp.split(y, (inner, inner + mixed), axis=-1)
    if self.pad_mode == 'strict':
      xbc = gated_parts.keep_real(xbc, context)
    xbc = gated_parts.Convolution(self.kernel_size, c.dtype, name='conv1d')(xbc)
    y = self.mix(*self.arguments(jax.nn.silu(xbc), steps, context))
    y = y.reshape(z.shape)
    y = gated_parts.GatedNorm(dtype=c.dtype, name='norm')(y, z)
    return dense(c, c.hidden_size, use_bias=self.bias, name='out_proj')(y)

  def arguments(
    self, xbc: jax.Array, steps: jax.Array, context: BatchContext
  ) -> tuple[Any, ...]:
    """The matrix's parts from (B, L, E + 4 G N) and (B, L, 2 H): see `mix`."""
    c = self.config
    inner, heads = self.sizes()
    strict = self.pad_mode == 'strict'
    if strict:
      xbc = gated_parts.keep_real(xbc, context)
    dt_bias = self.param('dt_bias', gated_parts.dt_bias_init(), (heads,))
    a_log = self.param('A_log', nn.initializers.zeros, (heads,))
    skip = self.param('D', nn.initializers.ones, (heads,))
    shape = (heads, self.head_dim, self.state_size)
    start = None
    if self.learn_initial_state:
      start = self.param('init_states', nn.initializers.zeros, shape)
    rows = xbc.shape[:2]
    x, bc = xbc[..., :inner], xbc[..., inner:]
    # [B forward | C forward | B backward | C backward].
    bc = bc.reshape(*rows, 2, 2, self.groups, self.state_size)
    b, read = (jnp.moveaxis(bc[:, :, :, i], 2, 0) for i in (0, 1))
    steps = steps.astype(jnp.float32).reshape(*rows, 2, heads)
    dt = jnp.moveaxis(jax.nn.softplus(steps + dt_bias), 2, 0)
    if self.dt_limit is not None:
      dt = jnp.clip(dt, *self.dt_limit)
    if strict:
      dt = jnp.where(context.mask[None, ..., None], dt, 0)
    delta = dense(c, heads, use_bias=False, name='fc_D')(x)
    delta = delta.astype(jnp.float32) + skip
    x = nn.with_logical_constraint(
      x.reshape(*rows, heads, -1), ('batch', 'length', 'heads', None)
    )
    return x, dt, -jnp.exp(a_log), b, read, delta, start

  def mix(self, *arguments: Any) -> jax.Array:
    """Applies the matrix: (B, L, H, P); see `kernels.quasiseparable`."""
    return quasiseparable(
      *arguments, chunk=self.chunk, implementation=self.implementation
    )

  def sizes(self) -> tuple[int, int]:
    """Returns E and the number of heads H.

    Raises:
      ValueError: sizes that don't divide, or a state size below 1.
    """
    if self.state_size < 1:
      raise ValueError(
        f"model.options['hydra'] state_size={self.state_size}: expected a "
        'positive number'
      )
    inner = gated_parts.inner_size(self.config, self.expand, self.head_dim)
    heads = inner // self.head_dim
    if self.groups < 1 or heads % self.groups:
      raise ValueError(f'groups={self.groups} does not divide {heads} heads')
    gated_parts.check_pad_mode(self.pad_mode)
    return inner, heads
