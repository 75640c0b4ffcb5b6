"""Layer-wise decay of the learning rate, as ELECTRA and DeBERTa are tuned.

Clark et al. 2020, arXiv 2003.10555, appendix B; published: 0.8 for ELECTRA's
base model, 0.9 for its large one. The rate of a leaf is that of the run times
decay^depth, the depth counted from the top:

  head, pooler                  0
  block i of N (from 0)         N - i     so 1 for the highest
  embeddings, positions         N + 1

ELECTRA's own code counts its head two above the highest block: there all but
the head have the factor once more. A leaf that a method adds inside a block or
at the embeddings has that place's; what all blocks share (a prefix's network)
has depth 0, and so has a network beside the model (a generator), whose blocks
don't count.
"""

import re
from collections.abc import Collection
from typing import Annotated

from glue_jax.config.ranges import Range, checked

Decay = Annotated[float, Range(gt=0, le=1)]

_BLOCK = re.compile(r'(?:.*/)?layer_(\d+)/.*')
_EMBEDDINGS = re.compile(r'(?:.*/)?(embeddings|positions)/.*')


@checked
def factors(
  names: Collection[str], decay: Decay, companions: Collection[str] = ()
) -> dict[str, float]:
  """Returns {leaf: factor of its learning rate}.

  Args:
    names: all leaves of the model, with those of its methods.
    decay: factor from one block to the one below; 1 changes nothing.
    companions: names of the networks beside the model, the first in the names
      of their leaves.

  Raises:
    ValueError: another decay than 1, and no leaf is in a block.
  """
  own = {name for name in names if name.split('/')[0] not in companions}
  block_of = {n: int(m[1]) for n in own if (m := _BLOCK.fullmatch(n))}
  if decay != 1 and not block_of:
    raise ValueError(
      f'config.optimizer.layer_decay={decay}: no leaf is in a block '
      '(.../layer_<i>/...), so there is no depth; leave it out'
    )
  blocks = max(block_of.values(), default=-1) + 1

  def depth(name):
    if name in block_of:
      return blocks - block_of[name]
    return blocks + 1 if name in own and _EMBEDDINGS.fullmatch(name) else 0

  return {name: decay ** depth(name) for name in names}
