"""(IA)3. Liu et al. 2022, arXiv 2205.05638. Parts: peft/ia3.py.

The vectors and the head learn; L (2 D + F) parameters without the head. Export
folds the vectors into the linear layers.

Use it: for the fewest parameters that still vanish at export.
Costs: L (2 D + F) parameters; wants a high learning rate: at 1e-3 for 157 steps
  MiniLM stays at chance.
Not with: mixers without key and value (FNet, PoNet, Hydra), experts, GaLore,
  `ada_deft` listed before it.
"""

from typing import Annotated

from glue_jax.config.ranges import OneOf
from glue_jax.method import HEAD, Context, Facts, Method, matching
from glue_jax.peft import ia3

FACTS = Facts(
  small={},
  identity=True,
  sizes=(
    ({}, lambda c: c.num_layers * (2 * c.hidden_size + c.intermediate_size)),
    (
      dict(form='library'),
      lambda c: c.num_layers * (3 * c.hidden_size + c.intermediate_size),
    ),
  ),
  axis='tune',
  refuses={
    'has no layer': ('comet', 'fnet', 'hydra', 'ponet'),
    'match none of the leaves': ('galore', 'natural_galore'),
  },
  peft_type='IA3',
)


def make(
  ctx: Context, *, form: Annotated[str, OneOf(ia3.FORMS)] = 'paper'
) -> Method:
  """Returns vectors on key, value and the feed-forward part of every block.

  Args:
    ctx: see `Context`.
    form: 'paper', or 'library': Hugging Face's, which for BERT also scales the
      input of the attention's output projection (another L D parameters).
  """
  del ctx
  inputs = ia3.FORMS[form]
  return Method(
    name='ia3',
    plugs=(
      # One each, so that none may match nothing.
      *map(ia3.output_plug, ia3.OUTPUTS),
      ia3.input_plug(inputs),
    ),
    learns=matching(f'.*/{ia3.LEAF}', HEAD),
    export=lambda params: ia3.merge(params, inputs),
  )
