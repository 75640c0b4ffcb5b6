"""The matrix-mixer framework (Hwang et al. 2024, arXiv 2407.09941, section 2).

One block, eight classes of matrices: in_proj to a gate z, values v and what the
matrix depends on; a centred convolution and SiLU; Y = M V + V a head; RMSNorm,
gate, out_proj. Which matrices: glue_jax/layers/mixers/matrices.py. Each may
depend on the tokens (`data_dependent`) or be parameters of a fixed length.

Parameter names: layer_{i}/mixer/{in_proj,conv1d,norm,out_proj}, and
layer_{i}/mixer/matrix/... for the matrix's own.
"""

from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from glue_jax.config.ranges import Count, OneOf
from glue_jax.layers.context import BatchContext
from glue_jax.layers.dense import dense
from glue_jax.layers.mixers import gated_parts, matrices
from glue_jax.layers.spec import EncoderConfig


class Mixer(nn.Module):
  """A block around a matrix.

  Attributes:
    config: `hidden_size` D, initialiser and type are read.
    matrix: key of `matrices.MATRICES`.
    data_dependent: whether the matrix is a function of the tokens.
    qk_dim: width of each head's queries and keys; a state has heads * qk_dim.
    head_dim: P; must divide E = expand * D.
    expand: E / D.
    kernel_size: of the convolution, odd.
    max_length: T, that matrices of parameters and scales have; None is
      `max_positions` of the encoder.
    official_shift: the official code's Toeplitz matrix, one off; see there.
    pad_mode: see `gated_parts.PAD_MODES`.
    chunk: see `kernels.quasiseparable`.
    implementation: see there.
  """

  config: EncoderConfig
  matrix: Annotated[str, OneOf(matrices.MATRICES)] = 'quasiseparable'
  data_dependent: bool = True
  qk_dim: Count = 16
  head_dim: Count = 128
  expand: Count = 2
  kernel_size: Count = 7
  max_length: Count | None = None
  official_shift: bool = False
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
      ValueError: sizes that don't divide, an unknown option, or inputs longer
        than T.
    """
    del train
    c, strict = self.config, self.pad_mode == 'strict'
    inner, matrix = self.parts(x.shape[1])
    x = gated_parts.keep_real(x, context)
    mixed = inner + matrix.features
    width = inner + mixed + matrix.steps
    y = dense(c, width, use_bias=False, name='in_proj')(x)
    z, y, steps = jnp.split(y, (inner, inner + mixed), axis=-1)
    y = gated_parts.keep_real(y, context) if strict else y
    y = gated_parts.Convolution(self.kernel_size, c.dtype, name='conv1d')(y)
    if matrix.activated:
      y = jax.nn.silu(y)
    v, features = y[..., :inner], y[..., inner:]
    v = v if matrix.activated else jax.nn.silu(v)
    mask = context.mask if strict else jnp.ones_like(context.mask)
    v = jnp.where(mask[..., None], v, 0)
    v = nn.with_logical_constraint(
      v.reshape(*v.shape[:2], -1, self.head_dim),
      ('batch', 'length', 'heads', None),
    )
    y = matrix(v, features, steps, mask).reshape(z.shape)
    y = gated_parts.GatedNorm(dtype=c.dtype, name='norm')(y, z)
    return dense(c, c.hidden_size, use_bias=False, name='out_proj')(y)

  def parts(self, length: int) -> tuple[int, matrices.Matrix]:
    """Returns E and the matrix, after checks."""
    inner = gated_parts.inner_size(self.config, self.expand, self.head_dim)
    if self.matrix not in matrices.MATRICES:
      raise ValueError(
        f"model.options['matrix_mixer'] matrix={self.matrix!r}; there are "
        f'{sorted(matrices.MATRICES)}'
      )
    gated_parts.check_pad_mode(self.pad_mode)
    longest = self.max_length or self.config.max_positions
    if length > longest:
      raise ValueError(
        f'input of length {length} exceeds the {longest} positions of the '
        f'{self.matrix} matrix; raise max_length or lower data.max_length'
      )
    cls = matrices.MATRICES[self.matrix]
    more: dict[str, Any] = {}
    if cls is matrices.Toeplitz:
      more = {'official_shift': self.official_shift}
    if issubclass(cls, matrices.Semiseparable):
      more = {'chunk': self.chunk, 'implementation': self.implementation}
    return inner, cls(
      heads=inner // self.head_dim,
      qk_dim=self.qk_dim,
      max_length=longest,
      data_dependent=self.data_dependent,
      name='matrix',
      **more,
    )
