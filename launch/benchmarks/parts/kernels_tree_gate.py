"""COMET's gate at the sizes used in practice."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.kernels.tree_gate import tree_gate as kernel

LENGTHS = 128, 512, 4096, 16384
WIDTHS = 384, 768, 1024
# (experts, trees): COMET-BERT's, and the largest of the recommenders'.
GATES = (4, 1), (16, 2)
GAMMA = 0.1


def lowerings() -> Iterator[tuple]:
  """(kernel, platform, shape, function, arguments) of every lowering."""
  for platform in ('tpu', 'gpu'):
    for experts, trees in GATES:
      gate = functools.partial(_gate, trees, platform)
      for length in LENGTHS:
        for width in WIDTHS:
          args = [
            jax.ShapeDtypeStruct(size, 'float32')
            for size in _sizes(length, width, experts, trees)
          ]
          text = f'{length}x{width} n={experts} k={trees}'
          yield 'tree_gate', platform, text + ' forward', gate, args
          backward = functools.partial(_backward, gate)
          yield 'tree_gate', platform, text + ' backward', backward, args


def timings() -> Iterator[tuple]:
  """(kernel, shape, ours, reference, arguments, bytes, operations)."""
  served = jax.default_backend() in ('tpu', 'gpu')
  for tokens in (16384, 131072) if served else (4096,):
    for experts, trees in GATES:
      width = 768
      rng = np.random.default_rng(0)
      args = [
        jnp.asarray(rng.normal(size=size) * 0.05, jnp.float32)
        for size in _sizes(tokens, width, experts, trees)
      ]
      ours = functools.partial(_gate, trees, None)
      theirs = functools.partial(_gate, trees, 'reference')
      maps = trees * (2 * experts - 1)
      moved = 4 * tokens * (width + experts + 2 * trees + 1)
      operations = 2 * tokens * width * maps
      text = f'{tokens}x{width} n={experts} k={trees}'
      yield 'tree_gate', text, ours, theirs, args, moved, operations
      yield (
        'tree_gate',
        text + ' forward and backward',
        functools.partial(_backward, ours),
        functools.partial(_backward, theirs),
        args,
        moved + 4 * tokens * (2 * width + 2 * maps),
        3 * operations,
      )


def _sizes(tokens, width, experts, trees):
  return (
    (tokens, width),
    (experts - 1, trees, width),
    (experts, trees, width),
    (experts, trees),
  )


def _gate(trees: int, implementation: str | None, *args: Any) -> Any:
  gate = kernel.tree_gate(
    *args, gamma=GAMMA, keep=trees, implementation=implementation
  )
  return gate.weights, gate.entropy


def _backward(gate: Any, *args: Any) -> Any:
  out, pull = jax.vjp(gate, *args)
  return pull(out)
