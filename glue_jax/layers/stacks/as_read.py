"""The stack that a head needs: `first_token` where that is all it reads.

For recipes that take any weights; `models.model.build` puts the name of the
chosen one into the config.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax

from glue_jax.layers.context import BatchContext
from glue_jax.layers.spec import EncoderConfig
from glue_jax.layers.stacks import first_token, plain


def stack(
  layers: Sequence[nn.Module],
  x: jax.Array,
  context: BatchContext,
  train: bool,
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
  """Runs all blocks, which serves every head; see `plain`."""
  return plain.stack(layers, x, context, train)


def choose(config: EncoderConfig, kind: str) -> str:
  """Returns the name of the stack for a kind of head."""
  return 'first_token' if first_token.serves(config, kind) else 'plain'


stack.choose = choose
