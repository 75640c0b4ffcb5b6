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

from typing import Any

from glue_jax import tree
from glue_jax.config.ranges import Count, Rate, Whole
from glue_jax.layers import paths
from glue_jax.method import HEAD, Context, Facts, Method, matching
from glue_jax.models import model as models
from glue_jax.peft import prefix
from glue_jax.plugs import Plug

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
      Face's BERT and LLaMA do; then not even prefixes of zeros leave the model
      as it was. Says nothing where only distances count (T5, MPT).
    hidden: width H of the reparameterisation; 0 = none. It is computed away by
      export.
  """
  cores = paths.of(f'{paths.ATTENTION}/core')
  plugs = (prefix.plug(cores, length, dropout),)
  if position_offset:
    plugs += _moved(ctx.model, length)
  if not hidden:
    return Method(
      name='prefix',
      plugs=plugs,
      learns=matching('.*/prefix_(key|value)', HEAD),
    )
  return Method(
    name='prefix',
    plugs=plugs,
    surgery=lambda rng, params: prefix.add_mlp(rng, params, hidden),
    reparam=lambda params, *_: prefix.project(params),
    learns=matching(f'{prefix.HOME}/.*', HEAD),
    export=prefix.drop_mlp,
  )


def _moved(model: Any, length: int) -> tuple[Plug, ...]:
  """Plugs that number the positions of real tokens from P on."""
  table = f'{paths.table("position")}/embedding'
  if any(tree.matches(table, name) for name in models.shapes(model)):
    return (prefix.positions(length),)
  if model.config.positions == 'rotary':
    return (prefix.rotations(length),)
  return ()
