"""The first block alone in the first epoch, the whole model afterwards."""

import dataclasses

from glue_jax.method import Context, Facts, Hook, Method

FACTS = Facts(small={})


def make(ctx: Context) -> Method:
  del ctx

  def before_epoch(host):
    host.variant['depth'] = 1 if host.epoch == 0 else None

  def shape(config, variant):
    depth = variant.get('depth') or config.num_layers
    if not 1 <= depth <= config.num_layers:
      raise ValueError(f'depth={depth}: there are {config.num_layers} blocks')
    return dataclasses.replace(config, num_layers=depth)

  return Method(
    'shallow', shape=shape, variants=('depth',), hooks=(Hook(before_epoch),)
  )
