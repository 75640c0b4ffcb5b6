"""NF4 against 4-bit integers on Gaussian weights, with equal scales.

Weights N(0, 0.02^2) in matrices of two sizes and one that blocks of 64 do not
divide. Mean absolute error of a round trip in percent of the weights' standard
deviation: NF4, the integers -7..7 times absmax / 7, both with one float32
absmax for 64 weights, and NF4 with double quantisation. Required: NF4 at most
7.7 %, and at least 15 % below the integers. NF4's levels are quantiles of a
normal distribution and so are the weights: that is the case it is made for.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from glue_jax.compress import nf4
from launch.miniatures.parts import verdict

FLAGS = flags.FLAGS
SHAPES = ((384, 384), (384, 1536), (53, 77))
SIGMA, LEVELS = 0.02, 7


def define_flags() -> None:
  """The flags of this miniature."""
  flags.DEFINE_integer('seeds', 5, 'draws of each matrix')


def main(argv: list[str]) -> bool:
  """Prints the table; returns whether the required figures were reached."""
  del argv
  print('shape          NF4 %   int4 %  NF4 double %   bits  bits double')
  bounds = []
  for shape in SHAPES:
    draws = np.array([errors(shape, seed) for seed in range(FLAGS.seeds)])
    if not len(draws):
      break
    bits = [
      nf4.bits_per_weight(nf4.shapes(shape, double), shape[0] * shape[1])
      for double in (False, True)
    ]
    normal, integer, double = draws.mean(0)
    print(
      f'{str(shape):<12} {normal:7.2f}  {integer:7.2f}  {double:12.2f}  '
      f'{bits[0]:5.3f}  {bits[1]:11.3f}'
    )
    bounds += [
      verdict.Bound(f'NF4 of {shape}', normal, '<=', 7.7),
      verdict.Bound(f'NF4 / int4 of {shape}', normal / integer, '<=', 0.85),
    ]
  return verdict.say(*bounds)


@functools.partial(jax.jit, static_argnums=0)
def errors(shape: tuple[int, int], seed: int) -> jax.Array:
  """Mean absolute errors in percent of sigma: NF4, int4, NF4 double; (3,)."""
  w = SIGMA * jax.random.normal(jax.random.key(seed), shape)
  packed, absmax = nf4.quantise(w)
  restored = [nf4.dequantise(packed, absmax, shape)]
  flat = jnp.pad(w.ravel(), (0, -w.size % nf4.BLOCK)).reshape(-1, nf4.BLOCK)
  step = absmax[:, None] / LEVELS
  restored.append((jnp.round(flat / step) * step).ravel()[: w.size])
  again = nf4.dequantise_absmax(*nf4.quantise_absmax(absmax))
  restored.append(nf4.dequantise(packed, again, shape))
  far = [jnp.abs(x.reshape(shape) - w).mean() for x in restored]
  return 100 * jnp.stack(far) / w.std()
