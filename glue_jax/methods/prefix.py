"""Prefix tuning. Li and Liang 2021, arXiv 2101.00190; P-Tuning v2, Liu et al.
2021, arXiv 2110.07602 (its dropout of 0.1 is not confirmed).

Parts: peft/prefix.py. The prefixes (2 L P D parameters, or those of the
reparameterisation) and the head learn.

Use it: to steer attention without touching a weight.
Costs: 2 L P D parameters; P more keys in every attention, and P positions of
  the model's.
Not with: mixers without attention (FNet, PoNet, Hydra), GaLore (no kernel
  learns).
"""

from glue_jax.config.ranges import Count, Rate, Whole
from glue_jax.method import Context, Facts, Method, matching
from glue_jax.peft import prefix

FACTS = Facts(
  small=dict(length=3, dropout=0.1),
  sizes=(
    (dict(length=20), lambda c: c.num_layers * 2 * 20 * c.hidden_size),
    (
      dict(length=20, hidden=32),
      lambda c: (
        c.num_layers * 33 * 2 * c.hidden_size
        + 20 * c.hidden_size
        + 32 * c.hidden_size
        + 32
      ),
    ),
  ),
  axis='tune',
  cell=dict(length=8),
  refuses={
    'has no layer': ('fnet', 'hydra', 'ponet'),
    'match none of the leaves': ('galore', 'natural_galore'),
  },
  peft_type='PREFIX_TUNING',
)


def make(
  ctx: Context,
  *,
  length: Count = 20,
  dropout: Rate = 0.0,
  position_offset: bool = True,
  hidden: Whole = 0,
) -> Method:
  """Returns prefixes for the attention of every block.

  Args:
    ctx: see `Context`.
    length: P.
    dropout: on the prefixes while training.
    position_offset: number the real tokens' positions from P on, as Hugging
      Face's BERT does; then not even prefixes of zeros leave the model as it
      was.
    hidden: width H of the reparameterisation; 0 = none. It is computed away by
      export.
  """
  plugs = (prefix.plug(r'encoder/layer_\d+/mixer/core', length, dropout),)
  if position_offset:
    plugs += (prefix.positions(length),)
  if not hidden:
    return Method(
      name='prefix',
      plugs=plugs,
      learns=matching('.*/prefix_(key|value)', 'head/.*'),
    )
  layers = ctx.model.config.num_layers
  return Method(
    name='prefix',
    plugs=plugs,
    surgery=lambda rng, params: prefix.add_mlp(rng, params, hidden, layers),
    reparam=lambda params, *_: prefix.project(params),
    learns=matching(f'{prefix.HOME}/.*', 'head/.*'),
    export=prefix.drop_mlp,
  )
