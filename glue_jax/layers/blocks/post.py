"""Norm after the residual sum (Vaswani et al. 2017, arXiv 1706.03762): BERT.

x = norm(x + part(x)) for each sublayer, unless the part brings its own residual
and norm (`adds_residual`).
"""

import jax

from glue_jax.layers.blocks.sublayers import Part, Sublayers


class Block(Sublayers):
  """See the file."""

  def joined(self, norm: str, x: jax.Array, part: Part) -> jax.Array:
    y = part(x)
    return self.norm(norm)(x[:, : y.shape[1]] + y)
