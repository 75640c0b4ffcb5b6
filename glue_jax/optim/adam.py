"""Adam as the GaLore codes have it: full or 8-bit moments, eps uncorrected.

Their AdamW (jiaweizzhao/GaLore, galore_torch.AdamW, after transformers')
takes m / (sqrt(v) + eps) of the plain moments and corrects the bias of both
beside the learning rate; optax adds eps to the corrected root.
"""

import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from glue_jax.config.ranges import Dtype, Positive, Rate, checked
from glue_jax.optim import blockwise_8bit

# Smaller leaves keep full moments, as in bitsandbytes' `min_8bit_size`.
SMALLEST_8BIT = 4096


class AdamState(NamedTuple):
  """Counter and moments, arrays or `blockwise_8bit.Quantized`."""

  count: jax.Array
  mu: Any
  nu: Any


@checked
def scale_by_adam(
  b1: Rate = 0.9,
  b2: Rate = 0.999,
  eps: Positive = 1e-6,
  bits: Literal[8, 32] = 32,
  dtype: Dtype = 'float32',
  corrected: bool = True,
) -> optax.GradientTransformation:
  """Returns g -> sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps), float32.

  Args:
    b1, b2: decays of the moments m and v.
    eps: see the module.
    bits: 32, or 8 for block-wise quantised moments.
    dtype: of the moments that aren't quantised; computed in float32.
    corrected: False leaves the bias: m / (sqrt(v) + eps), as BERT's code.

  Raises:
    ValueError: an argument that isn't what its annotation says.
  """

  def pack(x, signed):
    if bits == 8 and x.size >= SMALLEST_8BIT:
      return blockwise_8bit.quantize(x, signed)
    return x.astype(dtype)

  def unpack(x, like, signed):
    if isinstance(x, blockwise_8bit.Quantized):
      return blockwise_8bit.dequantize(x, like.shape, signed)
    return x.astype(jnp.float32)

  def init(params):
    def zeros(signed):
      return jax.tree.map(lambda p: pack(jnp.zeros(p.shape), signed), params)

    return AdamState(jnp.zeros((), jnp.int32), zeros(True), zeros(False))

  def update(updates, state, params=None):
    del params
    count = state.count + 1
    factor = 1.0
    if corrected:
      factor = jnp.sqrt(_correction(b2, count)) / _correction(b1, count)
    grads, structure = jax.tree.flatten(updates)
    new = []
    for g, mu, nu in zip(
      grads,
      structure.flatten_up_to(state.mu),
      structure.flatten_up_to(state.nu),
      strict=True,
    ):
      g = g.astype(jnp.float32)
      mu = b1 * unpack(mu, g, True) + (1 - b1) * g
      nu = b2 * unpack(nu, g, False) + (1 - b2) * jnp.square(g)
      step = factor * mu / (jnp.sqrt(nu) + eps)
      new.append((step, pack(mu, True), pack(nu, False)))
    steps, mu, nu = (structure.unflatten(x) for x in zip(*new, strict=True))
    return steps, AdamState(count, mu, nu)

  return optax.GradientTransformation(init, update)


def _correction(decay, count):
  """1 - decay^count; as it stands it would lose digits while it is small."""
  return -jnp.expm1(count * math.log(decay)) if decay else 1.0
