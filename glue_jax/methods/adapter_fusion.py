"""AdapterFusion. Pfeiffer et al. 2020, arXiv 2005.00247.

Parts: peft/fusion.py, peft/source_adapters.py; the settings are those of
CPJKU/ScaLearn. Backbone and source adapters are frozen; the attention over
adapters and a new head learn. 3 D^2 + 2 D parameters a block.

Use it: to share what several finished tasks know, when ScaLearn's coefficients
  are too few.
Costs: 3 D^2 + 2 D parameters a block, and every source's adapter in every pass;
  export keeps them all.
Not with: blocks without `ln_ffn` (experts, Hydra), or sources that are no
  `pfeiffer` runs on this backbone.
"""

from glue_jax.config.ranges import Names, NonNegative, Rate
from glue_jax.method import HEAD, Context, Facts, Method, matching
from glue_jax.peft import adapter, fusion
from glue_jax.peft import source_adapters as sources_lib

FACTS = Facts(small=dict(sources='SOURCES'))


def make(
  ctx: Context,
  *,
  sources: Names,
  dropout: Rate = 0.1,
  penalty: NonNegative = 0.01,
) -> Method:
  """Returns attention over the adapters of `sources` in every block.

  Args:
    ctx: see `Context`.
    sources: as in methods/scalearn.py.
    dropout: rate on the raw scores.
    penalty: weight of ||I - V||^2.

  Raises:
    ValueError: see `sources.read`.
  """
  adapters, values = sources_lib.read(ctx.load_tuned, sources, ctx.model.config)
  return Method(
    name='adapter_fusion',
    surgery=lambda _, params: sources_lib.put(params, values),
    plugs=(
      fusion.plug(
        adapter.last_site(ctx.model.config), adapters, dropout=dropout
      ),
    ),
    wrap_loss=lambda loss: fusion.penalised(loss, penalty),
    learns=matching('.*/fusion_.*', HEAD),
    hooks=(sources_lib.same_backbone(ctx.load_tuned, sources[0]),),
  )
