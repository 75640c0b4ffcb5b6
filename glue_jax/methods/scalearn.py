"""ScaLearn and its three smaller forms. Frohmann et al. 2023, arXiv 2310.01217.

Parts: peft/scaling.py, peft/source_adapters.py. Backbone and source adapters
are frozen; the coefficients and a new head learn. Not here: the penalty on the
coefficients' mean, an ablation of the official code that is off there.

Use it: when finished tasks resemble a small target task.
Costs: n D parameters a layer, down to n in all; n adapters in every pass, and
  export keeps them.
Not with: blocks without `ln_ffn` (experts, Hydra), or sources that are no
  `pfeiffer` runs on this backbone.
"""

from glue_jax.config.ranges import Names, Rate
from glue_jax.method import HEAD, Context, Facts, Method, matching
from glue_jax.peft import adapter, scaling
from glue_jax.peft import source_adapters as sources_lib

FACTS = Facts(small=dict(sources='SOURCES', shared=True))


def make(
  ctx: Context,
  *,
  sources: Names,
  uniform: bool = False,
  shared: bool = False,
  dropout: Rate | None = None,
  constraint: scaling.Constraint = '',
) -> Method:
  """Returns ScaLearn: n D coefficients a layer.

  Args:
    ctx: see `Context`.
    sources: n finished runs with the method `pfeiffer` on one backbone: their
      workdirs or `'stage:<name>'`, as a rule that of the target task too.
    uniform: one coefficient an adapter (ScaLearnUniform): n a layer.
    shared: one set for all layers (ScaLearn++, ScaLearnUniform++).
    dropout: rate on the coefficients; None = the paper's: 0.3, or 0 where they
      are uniform and shared, or constrained.
    constraint: see `scaling.Constraint`.

  Raises:
    ValueError: see `sources.read` and `scaling.plugs`; or `shared` of an
      encoder-decoder.
  """
  if shared and ctx.model.shape == 'seq2seq':
    raise ValueError(
      'scalearn.shared: no module runs the blocks of both stacks of an '
      'encoder-decoder; leave it out'
    )
  if dropout is None:
    dropout = 0.0 if constraint or (uniform and shared) else 0.3
  adapters, values = sources_lib.read(ctx.load_tuned, sources, ctx.model.config)
  return Method(
    name='scalearn',
    surgery=lambda _, params: sources_lib.put(params, values),
    plugs=scaling.plugs(
      adapter.last_site(ctx.model.config),
      adapters,
      uniform=uniform,
      dropout=dropout,
      constraint=constraint,
      shared_at=ctx.model.shape if shared else '',
    ),
    learns=matching(f'.*/{scaling.LEAF}', HEAD),
    hooks=(sources_lib.same_backbone(ctx.load_tuned, sources[0]),),
  )
