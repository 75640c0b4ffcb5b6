"""Norm before each sublayer (Xiong et al. 2020, arXiv 2002.04745).

x = x + part(norm(x)); a norm after the last block (`final_norm`) goes with it.
GPT-2, T5, LLaMA, Qwen, MPT and ModernBERT are made of it.
"""

import jax

from glue_jax.layers.blocks.sublayers import Part, Sublayers


class Block(Sublayers):
  """See the file; without `mixer_norm` the mixer reads the states as are."""

  WHOLE = False

  def joined(self, norm: str, x: jax.Array, part: Part) -> jax.Array:
    bare = norm == 'ln_attn' and not self.config.mixer_norm
    y = part(x if bare else self.norm(norm)(x))
    return x[:, : y.shape[1]] + y
