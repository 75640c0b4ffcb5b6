"""A stack whose last block computes the first position only.

A sentence's class is read off the first token, so in the last block no other
position needs a query, an output projection or a feed-forward part: with six
blocks a seventh of the encoder's work. What the head reads, and every gradient,
is the same. For heads that read the first token only; `last_hidden` and the
last of `hidden_states` have that one position.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax

from glue_jax.layers.context import BatchContext
from glue_jax.layers.spec import EncoderConfig


def stack(
  layers: Sequence[nn.Module],
  x: jax.Array,
  context: BatchContext,
  train: bool,
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
  """Runs the blocks, the last with one query.

  Args:
    layers: modules called as `layer(x, context, train)`; the last one's mixer
      must read `context.queries`.
    x: embeddings (B, L, D).
    context: see `BatchContext`.
    train: turns dropout on.

  Returns:
    the last hidden state (B, 1, D), and the states of all blocks.
  """
  states = [x]
  for i, layer in enumerate(layers):
    last = i == len(layers) - 1
    x = layer(x, context.replace(queries=1) if last else context, train)
    states.append(x)
  return x, tuple(states)


# Kinds of head that read nothing but the first token, and parts that can give
# it alone.
KINDS = ('classification', 'multiple_choice', 'regression')
POOLERS = ('first_token', 'tanh')
MIXERS = ('attention', 'disentangled')


def serves(config: EncoderConfig, kind: str) -> bool:
  """Whether a model of this config and head can run on this stack."""
  able = set(config.names('mixer')[-1:]) <= {*MIXERS}
  fitting = config.pooler in POOLERS and not config.causal
  return kind in KINDS and fitting and able


def check(config: EncoderConfig) -> None:
  """Refuses models whose heads read other tokens.

  Raises:
    ValueError: the pooler does, or the first token has seen no other one.
  """
  if config.causal or config.pooler not in POOLERS:
    raise ValueError(
      f"model.stack='first_token' computes the first token alone, which the "
      f'head does not read (model.pooler={config.pooler!r}); give '
      "model.stack='plain'"
    )


stack.kinds = KINDS
# Run by `model.build`: what doesn't fit is refused before anything is made.
stack.check = check
