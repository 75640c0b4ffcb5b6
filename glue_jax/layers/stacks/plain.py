"""The plain stack: one block after another, all hidden states kept."""

from collections.abc import Sequence

import flax.linen as nn
import jax

from glue_jax.layers.context import BatchContext


def stack(
  layers: Sequence[nn.Module],
  x: jax.Array,
  context: BatchContext,
  train: bool,
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
  """Runs the blocks.

  Args:
    layers: modules called as `layer(x, context, train)`.
    x: embeddings (B, L, D).
    context: see `BatchContext`.
    train: turns dropout on.

  Returns:
    the last hidden states (B, L, D), and all N + 1 of them.
  """
  states = [x]
  for layer in layers:
    x = layer(x, context, train)
    states.append(x)
  return x, tuple(states)
