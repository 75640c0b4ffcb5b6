"""A table of relative positions for the layers to project (DeBERTa).

He et al. 2021, arXiv 2006.03654, section 3.1: one table for all layers, whose
rows stand for distances; each layer makes keys and queries of them
(layers/mixers/disentangled.py). Where the stack asks for it there is a table of
absolute positions beside (layers/stacks/mask_decoder.py).
"""

import flax.linen as nn
import jax

from glue_jax.config.ranges import Count
from glue_jax.layers import spec
from glue_jax.layers.context import BatchContext
from glue_jax.layers.embeddings.table import Table
from glue_jax.layers.norms.layer import LayerNorm
from glue_jax.layers.spec import EncoderConfig


class Positions(nn.Module):
  """Hands the table to the layers.

  Attributes:
    config: sizes and parts.
    rows: of the table, twice the largest distance (or bucket).
    norm: whether it goes through a LayerNorm, once for all layers.
  """

  config: EncoderConfig
  rows: Count = 512
  norm: bool = True

  @nn.compact
  def __call__(self, context: BatchContext, train: bool) -> BatchContext:
    """Returns the context with `relative` (rows, D), and `absolute`."""
    del train
    c = self.config
    init = nn.initializers.normal(c.init_range)
    table = self.param('embedding', init, (self.rows, c.hidden_size))
    if self.norm:
      table = LayerNorm(c.layer_norm_eps, c.dtype, name='ln')(table)
    context = context.replace(relative=jax.numpy.asarray(table, c.dtype))
    if getattr(spec.part('stack', c.stack), 'absolute', False):
      rows = Table(c, c.max_positions, c.hidden_size, name='absolute')
      context = context.replace(absolute=rows(context.positions))
    return context
