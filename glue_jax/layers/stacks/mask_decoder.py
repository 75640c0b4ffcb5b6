"""The enhanced mask decoder: absolute positions at the end only (DeBERTa).

He et al. 2021, arXiv 2006.03654, section 3.2; how it is done is read in the
official code. With H the states before the last block and Z the rows of a table
of absolute positions, q = H + Z goes through the last block twice, as query and
residual; keys and values are H's both times. The block's ordinary output isn't
computed. For masked language models whose embeddings have no positions of their
own; any other head of the same weights reads the plain stack.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax

from glue_jax.layers.context import BatchContext
from glue_jax.layers.spec import EncoderConfig

TIMES = 2  # that the last block is run


def stack(
  layers: Sequence[nn.Module],
  x: jax.Array,
  context: BatchContext,
  train: bool,
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
  """Runs the blocks, the last one twice.

  Args:
    layers: modules called as `layer(x, context, train)`; the last one's mixer
      must read `context.memory`.
    x: embeddings (B, L, D).
    context: see `BatchContext`; `absolute` is read.
    train: turns dropout on.

  Returns:
    the last hidden states (B, L, D), and all N + 1 of them.
  """
  *first, last = layers
  states = [x]
  for layer in first:
    x = layer(x, context, train)
    states.append(x)
  query, context = x + context.absolute, context.replace(memory=x)
  for _ in range(TIMES):
    query = last(query, context, train)
  return query, (*states, query)


def able(config: EncoderConfig) -> bool:
  """Whether a model of this config can end like that."""
  return (
    config.positions == 'relative_table'
    and config.names('mixer')[-1:] == ('disentangled',)
    and config.layer(-1).block == 'post'
    and not config.position_table
  )


def choose(config: EncoderConfig, kind: str) -> str:
  """Returns the name of the stack for a kind of head."""
  del config
  return 'mask_decoder' if kind == 'mlm' else 'plain'


def check(config: EncoderConfig) -> None:
  """Refuses models that can't end like that.

  Raises:
    ValueError: positions are in the embeddings already, or the last block
      isn't one of DeBERTa's.
  """
  if not able(config):
    raise ValueError(
      "model.stack='mask_decoder' needs DeBERTa's blocks without positions in "
      f'the embeddings; found mixer {config.names("mixer")[-1:]}, block '
      f'{config.block!r}, positions {config.positions!r}, position_table '
      f"{config.position_table}; give model.stack='plain'"
    )


stack.choose = choose
# Run by `model.build`: what doesn't fit is refused before anything is made.
stack.check = check
# Asks the part `relative_table` for `context.absolute`.
stack.absolute = True
