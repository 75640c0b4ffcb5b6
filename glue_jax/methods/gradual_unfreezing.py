"""Gradual unfreezing. Howard and Ruder 2018, arXiv 1801.06146, section 3.3.

The head learns first; after each `epochs_per_layer` epochs one more block joins
from the top, and after the last block the embeddings.

Use it: to keep what the lower layers know when the target task is small.
Costs: less than full fine-tuning at first; a program is compiled for each block
  that joins.
Not with: methods that freeze the backbone: a leaf learns only if every method
  lets it.
"""

import re

from glue_jax import tree
from glue_jax.method import Context, Facts, Hook, Method
from glue_jax.ranges import Count

FACTS = Facts(small={}, identity=True)


def make(ctx: Context, *, epochs_per_layer: Count = 1) -> Method:
  """Returns the method.

  Args:
    ctx: see `Context`.
    epochs_per_layer: epochs between two unfreezings.
  """
  del ctx

  def choose(host):
    host.variant['unfrozen_layers'] = host.epoch // epochs_per_layer

  def labels(params, variant):
    return unfrozen(params, variant.get('unfrozen_layers', 0))

  return Method(
    'gradual_unfreezing', labels=labels, hooks=(Hook(before_epoch=choose),)
  )


def unfrozen(params: tree.Tree, count: int) -> tree.Tree:
  """Labels: the head and the top `count` blocks learn.

  Embeddings learn once `count` exceeds the number of blocks.
  """

  def layer_of(name):
    return re.search(r'layer_(\d+)/', name)

  depths = [int(m[1]) for n in tree.flatten(params) if (m := layer_of(n))]
  num_layers = max(depths) + 1

  def label(name, _):
    block = layer_of(name)
    if block:
      learns = int(block[1]) >= num_layers - count
    elif name.startswith('encoder/'):
      learns = count > num_layers
    else:
      learns = True
    return 'train' if learns else 'frozen'

  return tree.map_named(label, params)
