"""The one table that a form of prompts is, and what it says of the model."""

from typing import Any

NAME = 'prompt_embeddings'
# Kinds of our heads that classify sentences, in the library's sense.
SENTENCES = ('classification', 'regression')


def settings(module: Any, length: int) -> dict[str, Any]:
  """Returns what both forms say of the model.

  Raises:
    ValueError: the head isn't one that the library gives prompts to.
  """
  if module.kind not in SENTENCES:
    raise ValueError(
      f'peft gives prompts to the classification of sentences only, not to '
      f'{module.kind!r}'
    )
  c = module.config
  return {
    'num_virtual_tokens': length,
    'num_transformer_submodules': 1,
    'num_layers': c.num_layers,
    'num_attention_heads': c.num_heads,
  }


def take(body: dict[str, Any], shape: tuple[int, int]) -> Any:
  """Takes the table out of the tensors.

  Raises:
    ValueError: there is none, or it has another shape.
  """
  if NAME not in body or body[NAME].shape != shape:
    there = body[NAME].shape if NAME in body else 'nothing'
    raise ValueError(f'{NAME}: found {there}, the model needs {shape}')
  return body.pop(NAME)
