"""Pfeiffer adapters. Pfeiffer et al. 2020, arXiv 2005.00247.

Parts: peft/adapter.py. The LayerNorms stay frozen; the adapters and the head
learn. 2 D M + M + D parameters a block.

Use it: as the cheapest adapter, and to tune the sources of ScaLearn and
  AdapterFusion.
Costs: 2 D M + M + D parameters a block and their products in every pass:
  nothing can be merged.
Not with: blocks without `ln_ffn` (experts, Hydra).
"""

from glue_jax.config.ranges import Count, Positive, Whole
from glue_jax.layers.activations import Activation
from glue_jax.method import HEAD, Context, Facts, Method, matching
from glue_jax.peft import adapter

FACTS = Facts(
  small=dict(size=4),
  sizes=(
    (
      dict(reduction=16),
      lambda c: (
        c.num_layers * (2 * c.hidden_size + 1) * (c.hidden_size // 16)
        + c.num_layers * c.hidden_size
      ),
    ),
  ),
  axis='tune',
  cell=dict(size=8),
  refuses={'has no layer': ('comet', 'hydra')},
  peft_type='PFEIFFER',
)


def make(
  ctx: Context,
  *,
  reduction: Count = 16,
  size: Whole = 0,
  activation: Activation = 'relu',
  init_range: Positive = 0.02,
) -> Method:
  """Returns one adapter a block, after the feed-forward part.

  Args:
    ctx: see `Context`.
    reduction: width over bottleneck, D / M.
    size: M itself; 0 = by `reduction`.
    activation, init_range: see `adapter.pfeiffer_plug`.

  Raises:
    ValueError: a reduction above the width.
  """
  size = adapter.bottleneck_size(ctx.model.config.hidden_size, reduction, size)
  sites = adapter.last_site(ctx.model.config)
  return Method(
    name='pfeiffer',
    plugs=(adapter.pfeiffer_plug(sites, size, activation, init_range),),
    learns=matching('.*/adapter_.*', HEAD),
  )
