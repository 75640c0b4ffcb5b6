"""Prompt tuning: one table of embeddings."""

from collections.abc import Mapping
from typing import Any

from glue_jax.export.peft_forms import prompt_table
from glue_jax.peft import prompt

# Its tensor lies beside the model.
INSIDE = False


def write(
  leaves: Mapping[str, Any], given: Mapping[str, Any], module: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Returns (tensors, settings in the library) of our leaves and settings.

  Raises:
    ValueError: a setting or a head that the form cannot express.
  """
  if given['pool'] != 'first':
    raise ValueError(
      f'pool={given["pool"]!r} has no place in the form of peft, whose '
      "classifier reads the first prompt: pool='first'"
    )
  settings = prompt_table.settings(module, given['length'])
  settings |= {'token_dim': leaves[prompt.LEAF].shape[1]}
  settings |= {'prompt_tuning_init': 'RANDOM'}
  return {prompt_table.NAME: leaves[prompt.LEAF]}, settings


def read(
  body: dict[str, Any], config: Mapping[str, Any], module: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Returns (our leaves, our settings), their tensors taken out of `body`.

  Raises:
    ValueError: no table of the shape that the model needs.
  """
  length, c = config['num_virtual_tokens'], module.config
  values = prompt_table.take(body, (length, c.embedding_size or c.hidden_size))
  return {prompt.LEAF: values}, {'length': length, 'pool': 'first'}
