"""Prefix tuning: one table of the keys and values of all layers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glue_jax import tree
from glue_jax.layers import paths
from glue_jax.peft import prefix
from glue_jax.weights.peft_forms import prompt_table

# Its tensor lies beside the model.
INSIDE = False
# {setting that is honoured: (what it may be, the library's default)}.
KEYS = prompt_table.KEYS
# The table is saved as it comes out of the projection.
NEUTRAL = ('encoder_hidden_size', 'init_weights', 'prefix_projection')


def write(
  leaves: Mapping[str, Any], given: Mapping[str, Any], module: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Returns (tensors, settings in the library) of our leaves and settings.

  Raises:
    ValueError: a setting or a head that the form cannot express.
  """
  if not given['position_offset']:
    raise ValueError(
      'position_offset=False has no place in the form of peft, which numbers '
      'the positions of real tokens from the length of the prefix on'
    )
  params = tree.unflatten(leaves)
  if given['hidden']:
    params = prefix.drop_mlp(prefix.project(params))
  settings = prompt_table.settings(module, given['length'])
  settings |= {
    'token_dim': module.config.hidden_size,
    'encoder_hidden_size': module.config.hidden_size,
    'prefix_projection': False,
  }
  return {prompt_table.NAME: np.asarray(prefix.table(params))}, settings


def read(
  body: dict[str, Any], config: Mapping[str, Any], module: Any, bare: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Returns (our leaves, our settings), their tensors taken out of `body`.

  Args:
    body, config, module, bare: see `lora.read`.

  Raises:
    ValueError: another model's sizes, or no table of the shape it needs.
  """
  del bare
  c = prompt_table.encoder(module)
  length = prompt_table.check(config, c.hidden_size, c)
  values = prompt_table.take(body, (length, 2 * c.num_layers * c.hidden_size))
  sites = [
    f'{paths.Place("encoder", i, "").block}/mixer/core/prefix_{leaf}'
    for i in range(c.num_layers)
    for leaf in ('key', 'value')
  ]
  leaves = dict(zip(sites, np.split(values, len(sites), 1)))
  return leaves, {'length': length}
