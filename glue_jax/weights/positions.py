"""A position table for longer inputs than it was trained for.

The rows are repeated: position p starts as a copy of p modulo the trained
length, so that neighbours stay neighbours, and the copies learn on from there.
Longformer (Beltagy et al. 2020, arXiv 2004.05150, section 5), and PoNet (Tan et
al. 2022, arXiv 2110.02442), whose official script for classifying long texts
does it.
"""

import dataclasses
import re
from typing import Any

import numpy as np

from glue_jax import tree
from glue_jax.layers.spec import EncoderConfig

# The tables of a model: one for each of its stacks.
_TABLE = re.compile(r'(encoder|decoder)/embeddings/position/embedding')


def grown_config(config: EncoderConfig, positions: int) -> EncoderConfig:
  """Returns the config with a table for inputs of that many tokens.

  Args:
    config: of the weights.
    positions: at least as many as there are; RoBERTa's offset comes on top.

  Raises:
    ValueError: the model has no position table, or a longer one.
  """
  where = f'model.grow_positions={positions}'
  if not config.max_positions:
    raise ValueError(
      f'{where}: the model has no position table and takes any length; leave '
      'it out'
    )
  found = config.max_positions - config.position_offset
  if positions < found:
    raise ValueError(
      f'{where}: the weights have {found} positions; give more, or leave it out'
    )
  rows = positions + config.position_offset
  return dataclasses.replace(config, max_positions=rows)


def grow(params: tree.Tree, config: EncoderConfig) -> tree.Tree:
  """Returns the tree with its position tables repeated up to `max_positions`.

  Args:
    params: of the weights; a table is (P, E).
    config: from `grown_config`. Rows below `position_offset` stand for no
      position and are kept as they are.
  """
  flat: dict[str, Any] = dict(tree.flatten(params))
  for name in filter(_TABLE.fullmatch, flat):
    kept, trained = np.split(np.asarray(flat[name]), [config.position_offset])
    place = np.arange(config.max_positions - len(kept)) % len(trained)
    flat[name] = np.concatenate([kept, trained[place]])
  return tree.unflatten(flat)
