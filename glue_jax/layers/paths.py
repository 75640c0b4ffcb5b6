"""Paths inside a model, whichever stacks it has: blocks and tables.

An encoder's modules lie in `encoder/`, a decoder's in `decoder/`, those of an
encoder-decoder in both. Methods name places by these patterns, so that they
sit on any family.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

# Pattern of a stack.
STACK = '(?:encoder|decoder)'
# Pattern of a block.
BLOCK = rf'{STACK}/layer_\d+'
# Pattern of a block's attentions: over the row itself and, in the decoder of an
# encoder-decoder, over the encoder's states.
ATTENTION = '(?:mixer|cross)'


class Place(NamedTuple):
  """Where a module or leaf inside a block lies.

  Attributes:
    stack: 'encoder' or 'decoder'.
    number: of the block, from 0.
    inside: its path inside the block.
  """

  stack: str
  number: int
  inside: str

  @property
  def block(self) -> str:
    """The block's own path."""
    return f'{self.stack}/layer_{self.number}'


def of(inside: str, blocks: Sequence[int] | None = None) -> str:
  """Returns the pattern of the paths of what is inside blocks.

  Args:
    inside: pattern of its path there.
    blocks: their numbers, from 0; None = all.
  """
  if blocks is None:
    return f'{BLOCK}/{inside}'
  numbers = '|'.join(map(str, blocks))
  return f'{STACK}/layer_(?:{numbers})/{inside}'


def split(path: str) -> Place | None:
  """Returns where a path lies; None if in no block."""
  hit = re.fullmatch(r'(encoder|decoder)/layer_(\d+)/(.*)', path)
  return Place(hit[1], int(hit[2]), hit[3]) if hit else None


def table(name: str) -> str:
  """Returns the pattern of an embedding table: 'word', 'position', ..."""
  return f'{STACK}/embeddings/{name}'


def in_stack(name: str) -> bool:
  """Says whether a leaf is the backbone's: of no head and no pooler."""
  return re.match(f'{STACK}/', name) is not None
