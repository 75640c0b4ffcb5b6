"""DSelect-k gate: k selectors of smooth binary codes.

Hazimeh et al. 2021, arXiv 2106.03760. With m = ceil(log2 n) bits per selector,
z = x W_z + b_z, h = smooth-step(z): selector_j(e) is the product over bits of h
or 1 - h, the most significant bit first, and g = sum_j softmax_j(x W_w + b_w)
selector_j. Captures `entropy`, the mean over tokens of
sum_{j,e} -q log(q + 1e-6), and `reciprocal`, zero unless n isn't a power of
two: sum over tokens and selectors of 1 / (1e-6 + sum_e q_e), against mass on
codes that no expert has; g then need not sum to 1.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.config.ranges import Count, Positive
from glue_jax.kernels.tree_gate.math import EPSILON, smooth_step
from glue_jax.layers.context import BatchContext
from glue_jax.layers.dense import uniform
from glue_jax.layers.gates import base
from glue_jax.layers.gates.permutation import Permutation
from glue_jax.layers.spec import EncoderConfig


class Gate(nn.Module):
  """k selectors over n experts.

  Attributes:
    config: of the encoder.
    experts: n.
    k: selectors.
    gamma: width of the smooth step.
  """

  config: EncoderConfig
  experts: int
  k: Count = 2
  gamma: Positive = 1.0

  @nn.compact
  def __call__(
    self, x: jax.Array, context: BatchContext, train: bool
  ) -> base.Routing:
    """Routes x (B, L, D)."""
    del train
    n, k = self.experts, self.k
    base.check_keep(k, n)
    bits = code_length(n)
    x = x.astype(jnp.float32)
    # All bits start in the middle, as the trees' splits do.
    z = nn.Dense(k * bits, name='code', kernel_init=uniform(self.gamma / 100))(
      x
    )
    w = nn.Dense(k, name='selector', kernel_init=uniform(0.05))(x)
    codes = z.reshape(*x.shape[:-1], k, bits)
    q = selectors(codes, n, self.gamma)
    weight = base.counted(context, x)
    spread = -(q * jnp.log(q + EPSILON)).sum((-2, -1))
    base.capture(self, 'entropy', base.mean(spread, weight))
    lost = jnp.zeros(())
    if n != 2**bits:
      lost = (reciprocal(q) * weight).sum()
    base.capture(self, 'reciprocal', lost)
    permutation, _ = Permutation(name='permutation')(k, n)
    return base.Routing(combine(q, w, permutation), k, sparse=False)


def code_length(experts: int) -> int:
  """Bits m = ceil(log2 n), at least 1."""
  return max(1, (experts - 1).bit_length())


def selectors(z: jax.Array, experts: int, gamma: float) -> jax.Array:
  """Products of bits: z (..., k, m) to (..., k, n)."""
  h = smooth_step(z, gamma)
  bits = z.shape[-1]
  shifts = np.arange(bits)[::-1]
  code = (np.arange(experts)[:, None] >> shifts & 1).astype(bool)
  return jnp.where(code, h[..., None, :], 1 - h[..., None, :]).prod(-1)


def reciprocal(q: jax.Array) -> jax.Array:
  """Penalty of selectors (..., k, n), summed over k: (...)."""
  return (1.0 / (EPSILON + q.sum(-1))).sum(-1)


def combine(
  q: jax.Array, w: jax.Array, permutation: jax.Array | None
) -> jax.Array:
  """Weights (..., n) of selectors (..., k, n) with logits w (..., k).

  Each selector is permuted by its own matrix (or all by one); nothing is
  renormalised.
  """
  if permutation is not None:
    shape = (q.shape[-2], *permutation.shape[1:])
    permutation = jnp.broadcast_to(permutation, shape)
    q = jnp.einsum('...kn,kne->...ke', q, permutation, precision='highest')
  return (jax.nn.softmax(w)[..., None] * q).sum(-2)
