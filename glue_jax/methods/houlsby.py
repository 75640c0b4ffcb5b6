"""Houlsby adapters. Houlsby et al. 2019, arXiv 1902.00751.

Parts: peft/adapter.py. As in the paper the LayerNorms and the head learn too;
the paper's truncated normal of 1e-2 and its sizes 8, 64, 256 are quoted from
memory, not confirmed.

Use it: when both sublayers shall be adapted; twice a Pfeiffer adapter.
Costs: 2 (2 D M + M + D) + 4 D parameters a block and their products in every
  pass: nothing can be merged.
Not with: `ada_deft` listed after it, whose gate would scale the adapter too.
"""

from glue_jax.config.ranges import Count, Positive
from glue_jax.layers import paths
from glue_jax.layers.activations import Activation
from glue_jax.method import HEAD, Context, Facts, Method, matching
from glue_jax.peft import adapter

FACTS = Facts(
  small=dict(size=4),
  # The LayerNorms learn too.
  sizes=(
    (
      dict(size=64),
      lambda c: (
        c.num_layers
        * (
          2 * (2 * 64 * c.hidden_size + 64 + c.hidden_size) + 4 * c.hidden_size
        )
      ),
    ),
  ),
  axis='tune',
  cell=dict(size=8),
)


def make(
  ctx: Context,
  *,
  size: Count = 64,
  activation: Activation = 'silu',
  init_range: Positive = 1e-2,
) -> Method:
  """Returns adapters after both sublayers of every block.

  Args:
    ctx: see `Context`.
    size, activation, init_range: see `adapter.plug`.
  """
  del ctx
  sites = paths.of(f'({paths.ATTENTION}|ffn)')
  return Method(
    name='houlsby',
    plugs=(adapter.plug(sites, size, activation, init_range),),
    learns=matching('.*/adapter_.*', paths.of('ln_.*'), HEAD),
  )
