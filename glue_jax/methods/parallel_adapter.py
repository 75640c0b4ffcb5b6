"""Parallel adapters. He et al. 2021, arXiv 2110.04366.

Parts: peft/adapter.py. The identity at the start; the adapters and the head
learn. 2 D M + M + D parameters a block.

Use it: as the adapter that starts as the identity, beside the feed-forward
  part.
Costs: 2 D M + M + D parameters a block and their products in every pass:
  nothing can be merged.
Not with: Hydra (no feed-forward part).
"""

from glue_jax.config.ranges import Count, Positive, Whole
from glue_jax.layers import paths
from glue_jax.layers.activations import Activation
from glue_jax.method import HEAD, Context, Facts, Method, matching
from glue_jax.peft import adapter

FACTS = Facts(
  small=dict(size=4),
  identity=True,
  sizes=(
    (
      dict(reduction=2),
      lambda c: (
        c.num_layers * (2 * c.hidden_size + 1) * (c.hidden_size // 2)
        + c.num_layers * c.hidden_size
      ),
    ),
  ),
  axis='tune',
  cell=dict(size=8),
  refuses={'has no layer': ('hydra',)},
)


def make(
  ctx: Context,
  *,
  reduction: Count = 2,
  size: Whole = 0,
  activation: Activation = 'relu',
  factor: Positive = 4.0,
) -> Method:
  """Returns one adapter a block, beside the feed-forward part.

  Args:
    ctx: see `Context`.
    reduction: width over bottleneck, D / M.
    size: M itself; 0 = by `reduction`.
    activation, factor: see `adapter.parallel_plug`.

  Raises:
    ValueError: a reduction above the width.
  """
  size = adapter.bottleneck_size(ctx.model.config.hidden_size, reduction, size)
  sites = paths.of('ffn')
  return Method(
    name='parallel_adapter',
    plugs=(adapter.parallel_plug(sites, size, activation, factor),),
    learns=matching('.*/adapter_.*', HEAD),
  )
