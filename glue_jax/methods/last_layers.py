"""Fine-tuning of the last layers only.

The search dimension `finetune_last_n_layers` of LEPISZCZE (Augustyniak et al.
2022, arXiv 2211.13112): the head, the pooler and the last blocks learn, the
embeddings and the blocks below keep their pre-trained values. Houlsby et al.
2019 (arXiv 1902.00751, section 3.4) measure it beside adapters.

Use it: as a plain baseline: no new leaf, and the exported model is as it was.
Costs: the share of the blocks that learn; below them there is no backward pass.
Not with: what packs the weights of these blocks (`nf4`, `qlora`), schedules of
  all of them.
"""

from typing import Annotated

from glue_jax.config.ranges import Range
from glue_jax.method import Context, Facts, Method
from glue_jax.methods import gradual_unfreezing

FACTS = Facts(
  small=dict(count=1), identity=True, axis='tune', cell=dict(count=1)
)


def make(ctx: Context, *, count: Annotated[int, Range(ge=-1)] = -1) -> Method:
  """Returns the method.

  Args:
    ctx: see `Context`.
    count: blocks that learn, from the top; 0 = none; -1 = everything learns,
      embeddings too.

  Raises:
    ValueError: `count` is above the number of blocks.
  """
  layers = ctx.model.config.num_layers
  if count > layers:
    raise ValueError(
      f'last_layers.count={count}: the model has {layers} layers; expected -1 '
      '(all leaves learn) to that'
    )
  if count < 0:
    return Method('last_layers')

  def learns(names, variant):
    del variant
    return gradual_unfreezing.unfrozen(names, count)

  return Method('last_layers', learns=learns)
