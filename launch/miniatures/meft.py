"""MEFT's claim: training memory that doesn't grow with the number of layers.

A toy block of width 64 (LayerNorm of x plus a feed-forward part of 256 and its
parallel adapter) on 256 tokens, MEFT1's coupling with an adapter of 8 beside
it; only the adapters are differentiated. Compared are the compiler's temporary
bytes of the gradient for 4 to 32 layers, with the ordinary backward pass and
with the reversible one as published (one segment), and the gradients of 4
layers. Nothing is run at the larger depths: there float32 gradients of a single
segment are noise (layers/stacks/coupling.py). Required: reversible memory at 32
layers within 5 % of that at 4; ordinary memory at 32 at least 5 times the
reversible one; gradients at 4 layers within 1e-3, relative to the largest.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from glue_jax.layers.activations import gelu
from glue_jax.layers.stacks import coupling, reversible
from launch.miniatures.parts import verdict

FLAGS = flags.FLAGS
WIDTH, INNER, TOKENS, SIZE = 64, 256, 256, 8
DEPTHS = (4, 8, 16, 32)
RULE = reversible.VARIANTS['meft1'].coupling


def define_flags() -> None:
  """The flags of this miniature."""
  flags.DEFINE_float('init', 0.05, 'standard deviation of all weights')


def main(argv: list[str]) -> bool:
  """Prints the table; returns whether the required figures were reached."""
  del argv
  peaks = {
    name: [memory(gradient(fn), depth) for depth in DEPTHS]
    for name, fn in (('ordinary', coupling.ordinary), ('reversible', published))
  }
  print(f'{"MB of layers":<12}', *(f'{depth:>8}' for depth in DEPTHS))
  for name, values in peaks.items():
    print(f'{name:<12}', *(f'{value / 1e6:>8.3f}' for value in values))
  error = difference(DEPTHS[0])
  growth = peaks['reversible'][-1] / peaks['reversible'][0]
  ratio = peaks['ordinary'][-1] / peaks['reversible'][-1]
  print(
    f'growth {growth:.3f}, ordinary / reversible {ratio:.1f}, '
    f'gradients of {DEPTHS[0]} layers differ by {error:.1e}'
  )
  return verdict.say(
    verdict.Bound('growth beside 1', abs(growth - 1), '<=', 0.05),
    verdict.Bound('ordinary / reversible', ratio, '>=', 5),
    verdict.Bound('difference of gradients', error, '<=', 1e-3),
  )


def published(
  pairs: list, streams: coupling.Streams, rule: coupling.Coupling
) -> coupling.Streams:
  """The reversible pass with one segment."""
  return coupling.reversible(pairs, streams, rule, len(pairs))


def gradient(run: Callable) -> Callable:
  """Returns (adapters, frozen weights, x) -> gradient of the adapters."""

  def loss(adapters, frozen, x):
    pairs = [
      (
        functools.partial(block, weights, adapter['parallel']),
        functools.partial(bottleneck, adapter['beside']),
      )
      for weights, adapter in zip(frozen, adapters, strict=True)
    ]
    return jnp.square(sum(run(pairs, (x, x), RULE)) / 2).mean()

  return jax.grad(loss)


def block(weights: dict, adapter: dict, x: jax.Array) -> jax.Array:
  """F of a layer: (TOKENS, WIDTH) to the same."""
  y = x + bottleneck(weights, x) + bottleneck(adapter, x)
  y -= y.mean(-1, keepdims=True)
  return y * jax.lax.rsqrt(jnp.square(y).mean(-1, keepdims=True) + 1e-12)


def bottleneck(weights: dict, x: jax.Array) -> jax.Array:
  """Two dense layers with a GELU between."""
  return gelu(x @ weights['down']) @ weights['up']


def memory(fn: Callable, depth: int) -> int:
  """Temporary bytes of the compiled function."""
  program = jax.jit(fn).lower(*inputs(depth)).compile()
  return program.memory_analysis().temp_size_in_bytes


def difference(depth: int) -> float:
  """Largest difference of the gradients over the largest gradient."""
  ours, theirs = (
    jax.tree.leaves(jax.jit(gradient(fn))(*inputs(depth)))
    for fn in (published, coupling.ordinary)
  )
  error = max(np.abs(a - b).max() for a, b in zip(ours, theirs, strict=True))
  return float(error / max(np.abs(b).max() for b in theirs))


def inputs(depth: int) -> tuple[list, list, jax.Array]:
  """Returns (adapters, frozen weights, x), drawn from a fixed seed."""
  rng = np.random.default_rng(0)

  def draw(*shape):
    return jnp.asarray(rng.normal(size=shape), jnp.float32)

  def dense(size):
    return {
      'down': FLAGS.init * draw(WIDTH, size),
      'up': FLAGS.init * draw(size, WIDTH),
    }

  adapters = [
    {'parallel': dense(SIZE), 'beside': dense(SIZE)} for _ in range(depth)
  ]
  return adapters, [dense(INNER) for _ in range(depth)], draw(TOKENS, WIDTH)
