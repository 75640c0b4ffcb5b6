"""Prompt tuning: one table of embeddings."""

from collections.abc import Mapping
from typing import Any

from glue_jax.peft import prompt
from glue_jax.weights.peft_forms import prompt_table

# Its tensor lies beside the model.
INSIDE = False
# {setting that is honoured: (what it may be, the library's default)}.
KEYS = prompt_table.KEYS
# What the table was drawn from.
NEUTRAL = (
  'prompt_tuning_init', 'prompt_tuning_init_text', 'tokenizer_kwargs',
  'tokenizer_name_or_path',
)  # fmt: skip


def write(
  leaves: Mapping[str, Any], given: Mapping[str, Any], module: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Returns (tensors, settings in the library) of our leaves and settings.

  Raises:
    ValueError: a setting or a head that the form cannot express.
  """
  if given['pool'] == 'cls':
    raise ValueError(
      f'pool={given["pool"]!r} has no place in the form of peft, whose '
      "classifier reads the first prompt: pool='first'"
    )
  settings = prompt_table.settings(module, given['length'])
  settings |= {'token_dim': leaves[prompt.leaf('encoder')].shape[1]}
  settings |= {'prompt_tuning_init': 'RANDOM'}
  return {prompt_table.NAME: leaves[prompt.leaf('encoder')]}, settings


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
  width = c.embedding_size or c.hidden_size
  length = prompt_table.check(config, width, c)
  values = prompt_table.take(body, (length, width))
  return {prompt.leaf('encoder'): values}, {'length': length, 'pool': 'first'}
