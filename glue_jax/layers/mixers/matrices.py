"""Eight classes of mixing matrices behind one interface.

Hwang et al. 2024, arXiv 2407.09941, sections 2 and 3, with the scales of the
official code. Letters: B batch, L length, T the longest length, H heads, P head
width, R = `qk_dim`. For matrices of parameters a shorter input takes the first
L rows and columns. The paper's name for the rule that submatrix M[i..j] depends
on tokens i..j alone is sequence alignment: all data-dependent classes here keep
it but the Toeplitz and the softmax (through its normaliser).

How fresh parameters are drawn is not in the paper: standard normal, which the
scales fit.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from glue_jax.kernels.quasiseparable.quasiseparable import quasiseparable, ssd
from glue_jax.layers.mixers import gated_parts


class Matrix(nn.Module):
  """A class of matrices: y = M v + v, M given by `matrix(features, mask)`.

  Attributes:
    heads: H.
    qk_dim: R.
    max_length: T.
    data_dependent: whether M is a function of the tokens.
  """

  heads: int
  qk_dim: int
  max_length: int
  data_dependent: bool

  # Whether SiLU follows the convolution for features too, not only for values.
  activated = False

  @property
  def features(self) -> int:
    """Channels after the convolution that M depends on."""
    return 2 * self.heads * self.qk_dim if self.data_dependent else 0

  @property
  def steps(self) -> int:
    """Channels without convolution that M depends on."""
    return 0

  @nn.compact
  def __call__(
    self, v: jax.Array, features: jax.Array, steps: jax.Array, mask: jax.Array
  ) -> jax.Array:
    """Mixes.

    Args:
      v: values (B, L, H, P), zero at masked tokens.
      features: (B, L, `self.features`).
      steps: (B, L, `self.steps`).
      mask: (B, L) bool, the tokens that may be seen.

    Returns:
      (B, L, H, P).
    """
    del steps
    m = self.matrix(features, mask).astype(v.dtype)
    mixed = jnp.einsum(
      'zhts,zshp->zthp',
      jnp.broadcast_to(m, (v.shape[0], *m.shape[1:])),
      v,
      preferred_element_type=jnp.float32,
    )
    return mixed.astype(v.dtype) + v

  def queries_and_keys(
    self, features: jax.Array, length: int
  ) -> tuple[jax.Array, jax.Array]:
    """Two of (B or 1, H, L, R) float32: of the tokens, or parameters."""
    if not self.data_dependent:
      shape = (self.max_length, self.heads, self.qk_dim)
      init = nn.initializers.normal(1.0)
      pair = [self.param(f'{n}_matrix', init, shape)[None] for n in 'qk']
    else:
      shape = (*features.shape[:2], self.heads, self.qk_dim)
      pair = [y.reshape(shape) for y in jnp.split(features, 2, axis=-1)]
    query, key = (
      y[:, :length].astype(jnp.float32).swapaxes(1, 2) for y in pair
    )
    return query, key


class Dense(Matrix):
  """Free entries; M / sqrt(T). Never data-dependent."""

  @property
  def features(self) -> int:
    """None: there is no data-dependent form."""
    if self.data_dependent:
      raise ValueError("the 'dense' matrix has data_dependent=False only")
    return 0

  def matrix(self, features: jax.Array, mask: jax.Array) -> jax.Array:
    """M (1, H, L, L)."""
    del features
    size, length = self.max_length, mask.shape[1]
    shape = (self.heads, size, size)
    m = self.param('M', nn.initializers.normal(1.0), shape)
    return m[None, :, :length, :length] / math.sqrt(size)


class Toeplitz(Matrix):
  """M_ts = c_{t-s} / (2 sqrt(T)).

  Data-dependent: token l gives c_l and c_{-l} (c_0 from the first).

  Attributes:
    official_shift: M_ts = c_{t-s+1} with c_{-(T-1)} in the corner (T-1, 0), as
      in the official code, by an index too far in its FFT; needs L = T.
  """

  official_shift: bool = False
  activated = True

  @property
  def features(self) -> int:
    """Two coefficients a head."""
    return 2 * self.heads if self.data_dependent else 0

  def matrix(self, features: jax.Array, mask: jax.Array) -> jax.Array:
    """M (B or 1, H, L, L)."""
    length, size = mask.shape[1], self.max_length
    if self.official_shift and length != size:
      raise ValueError(
        f'official_shift needs inputs of max_length={size}, found {length}'
      )
    if self.data_dependent:
      shape = (*features.shape[:2], 2, self.heads)
      ahead, behind = jnp.moveaxis(features.reshape(shape), (2, 1), (0, 3))
      c = jnp.concatenate([behind[..., :0:-1], ahead], axis=-1)
      zero = length - 1
    else:
      init, zero = nn.initializers.normal(1.0), size - 1
      shape = (self.heads, 2 * size - 1)
      c = self.param('conv_params', init, shape)[None]
    position = jnp.arange(length)
    offset = position[:, None] - position
    if self.official_shift:
      offset = jnp.where(offset == length - 1, -length, offset) + 1
    return c[..., offset + zero].astype(jnp.float32) * 0.5 / math.sqrt(size)


class Vandermonde(Matrix):
  """Data-dependent: sum_r cos(2 pi e q_tr s) - cos(2 pi e k_sr t), e = 1e-3.

  Otherwise the cosine transform cos(2 pi t s / T), without parameters.
  """

  def matrix(self, features: jax.Array, mask: jax.Array) -> jax.Array:
    """M (B or 1, H, L, L)."""
    length, size = mask.shape[1], self.max_length
    position = jnp.arange(length)
    if not self.data_dependent:
      # Reduced first: large angles lose digits.
      turns = position[:, None] * position % size
      m = jnp.cos(2 * math.pi / size * turns) / math.sqrt(size)
      return jnp.broadcast_to(m, (1, self.heads, length, length))
    query, key = self.queries_and_keys(features, length)

    def waves(y):
      return jnp.cos(2e-3 * math.pi * y[..., None] * position).sum(-2)

    m = waves(query) - waves(key).swapaxes(-1, -2)
    return m / math.sqrt(2 * size * self.qk_dim)


class Cauchy(Matrix):
  """sum_r 1 / (e^{q_tr} + e^{k_sr} + 2 b + 1e-8) / sqrt(T R).

  b is learnt from 0.5 on if data-dependent, else 0.
  """

  def matrix(self, features: jax.Array, mask: jax.Array) -> jax.Array:
    """M (B or 1, H, L, L)."""
    bias = 0.0
    if self.data_dependent:
      bias = self.param('bias', nn.initializers.constant(0.5), ())
    query, key = self.queries_and_keys(features, mask.shape[1])
    query, key = jnp.exp(query) + bias, jnp.exp(key) + bias
    # A term of R at a time: (B, H, L, L, R) would be the largest array.
    m = sum(
      1 / (query[..., :, None, r] + key[..., None, :, r] + 1e-8)
      for r in range(self.qk_dim)
    )
    return m / math.sqrt(self.max_length * self.qk_dim)


class LowRank(Matrix):
  """Q K^T / sqrt(T R): linear attention without a normaliser."""

  activated = True

  def matrix(self, features: jax.Array, mask: jax.Array) -> jax.Array:
    """M (B or 1, H, L, L)."""
    query, key = self.queries_and_keys(features, mask.shape[1])
    m = jnp.einsum('zhtr,zhsr->zhts', query, key)
    return m / math.sqrt(self.max_length * self.qk_dim)


class Attention(Matrix):
  """softmax(Q K^T / sqrt(R)).

  With parameters for Q and K the official code raises; this is its formula.
  """

  def matrix(self, features: jax.Array, mask: jax.Array) -> jax.Array:
    """M (B, H, L, L)."""
    query, key = self.queries_and_keys(features, mask.shape[1])
    scores = jnp.einsum('zhtr,zhsr->zhts', query, key)
    scores = scores / math.sqrt(self.qk_dim)
    low = jnp.finfo(jnp.float32).min
    return jax.nn.softmax(jnp.where(mask[:, None, None], scores, low))


class Semiseparable(Matrix):
  """Causal: the scan of Mamba-2 and a skip D v, in the place of "+ v".

  One group of B and C with a state of H R. Otherwise than data-dependent, B and
  C are parameters by position and the step sizes one a head.

  Attributes:
    chunk, implementation: see `kernels.quasiseparable`.
  """

  chunk: int | None = None
  implementation: str | None = None
  activated = True
  directions = 1

  @property
  def steps(self) -> int:
    """A step size for each direction and head."""
    return self.directions * self.heads if self.data_dependent else 0

  @nn.compact
  def __call__(
    self, v: jax.Array, features: jax.Array, steps: jax.Array, mask: jax.Array
  ) -> jax.Array:
    """Mixes; see `Matrix`."""
    heads, (batch, length) = self.heads, mask.shape
    state = heads * self.qk_dim
    dt_bias = self.param('dt_bias', gated_parts.dt_bias_init(), (heads,))
    a_log = self.param('A_log', nn.initializers.zeros, (heads,))
    skip = self.param('D', nn.initializers.ones, (heads,))
    if self.data_dependent:
      bc = features
      steps = steps.astype(jnp.float32)
      steps = steps.reshape(batch, length, self.directions, heads)
    else:
      init, shape = nn.initializers.normal(1.0), (self.max_length, 2 * state)
      bc = self.param('BC', init, shape)[None, :length].astype(v.dtype)
      bc = jnp.broadcast_to(bc, (batch, *bc.shape[1:]))
      steps = jnp.zeros((batch, length, self.directions, heads))
    b, c = (y[:, :, None] for y in jnp.split(bc, 2, axis=-1))
    dt = jnp.moveaxis(jax.nn.softplus(steps + dt_bias), 2, 0)
    dt = jnp.where(mask[None, ..., None], dt, 0)
    return self.scan(v, dt, -jnp.exp(a_log), b, c, skip)

  def scan(
    self,
    v: jax.Array,
    dt: jax.Array,
    a: jax.Array,
    b: jax.Array,
    c: jax.Array,
    skip: jax.Array,
  ) -> jax.Array:
    """The matrix times v: (B, L, H, P).

    Args:
      v: (B, L, H, P).
      dt: (directions, B, L, H).
      a: (H,).
      b, c: (B, L, 1, N).
      skip: D (H,).
    """
    y, _ = ssd(
      v, dt[0], a, b, c,
      chunk=self.chunk, implementation=self.implementation,
    )  # fmt: skip
    return y + (skip[:, None] * v).astype(v.dtype)


class Quasiseparable(Semiseparable):
  """Both directions with the same B and C, and the diagonal W_D v + D."""

  directions = 2

  def scan(
    self,
    v: jax.Array,
    dt: jax.Array,
    a: jax.Array,
    b: jax.Array,
    c: jax.Array,
    skip: jax.Array,
  ) -> jax.Array:
    """The matrix times v: (B, L, H, P); see `Semiseparable`."""
    flat = v.reshape(*v.shape[:2], -1)
    init = nn.initializers.normal(0.02)
    delta = nn.Dense(
      self.heads, use_bias=False, kernel_init=init, dtype=v.dtype, name='fc_D'
    )(flat)
    return quasiseparable(
      v, dt, a, jnp.stack([b, b]), jnp.stack([c, c]),
      delta.astype(jnp.float32) + skip,
      chunk=self.chunk, implementation=self.implementation,
    )  # fmt: skip


MATRICES: dict[str, type[Matrix]] = {
  'dense': Dense,
  'toeplitz': Toeplitz,
  'vandermonde': Vandermonde,
  'cauchy': Cauchy,
  'low_rank': LowRank,
  'attention': Attention,
  'semiseparable': Semiseparable,
  'quasiseparable': Quasiseparable,
}
