"""Gradual unfreezing. Howard and Ruder 2018, arXiv 1801.06146, section 3.3.

The head learns first; after each `epochs_per_layer` epochs one more block joins
from the top, and after the last block the embeddings.

Use it: to keep what the lower layers know when the target task is small.
Costs: less than full fine-tuning at first; a program is compiled for each block
  that joins.
Not with: methods that train a part of the model only: there is nothing to
  unfreeze.
"""

from collections.abc import Collection

from glue_jax.config.ranges import Count
from glue_jax.layers import paths
from glue_jax.method import Context, Facts, Hook, Method

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

  def holds(names, variant):
    return set(names) - unfrozen(names, variant.get('unfrozen_layers', 0))

  return Method(
    'gradual_unfreezing',
    turns=set,
    holds=holds,
    hooks=(Hook(before_epoch=choose),),
  )


def unfrozen(names: Collection[str], count: int) -> set[str]:
  """Returns the leaves of the head and of the top `count` blocks.

  Those of the embeddings too once `count` exceeds the number of blocks.
  """

  places = {name: paths.split(name) for name in names}
  num_layers = max(place.number for place in places.values() if place) + 1

  def learns(name):
    place = places[name]
    if place:
      return place.number >= num_layers - count
    return count > num_layers or not paths.in_stack(name)

  return {name for name in names if learns(name)}
