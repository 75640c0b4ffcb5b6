"""The one table that a form of prompts is, and what it says of the model."""

from collections.abc import Mapping
from typing import Any

from glue_jax.config.ranges import Count

# {setting that is honoured: (what it may be, the library's default)}.
KEYS: dict[str, tuple[Any, Any]] = {
  'num_virtual_tokens': (Count, None),
  'token_dim': (Count | None, None),
  'num_transformer_submodules': (Count | None, None),
  'num_layers': (Count | None, None),
  'num_attention_heads': (Count | None, None),
}
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
  c = encoder(module)
  return {
    'num_virtual_tokens': length,
    'num_transformer_submodules': 1,
    'num_layers': c.num_layers,
    'num_attention_heads': c.num_heads,
  }


def encoder(module: Any) -> Any:
  """Returns the sizes of an encoder.

  Raises:
    ValueError: it is none: peft reads the class of other models off another
      token behind prompts than we do, or keeps prefixes by groups of heads.
  """
  if module.shape != 'encoder':
    raise ValueError(
      f'prompts of a {module.shape} have no folder of peft here, only those of '
      'encoders; export the run with --format=stablehlo'
    )
  return module.config


def check(config: Mapping[str, Any], width: int, sizes: Any) -> int:
  """Returns the length of the table.

  Args:
    config: the library's settings.
    width: of the prompts.
    sizes: the encoder's config.

  Raises:
    ValueError: the settings say that the model is another.
  """
  for key, ours in {
    'token_dim': width,
    'num_transformer_submodules': 1,
    'num_layers': sizes.num_layers,
    'num_attention_heads': sizes.num_heads,
  }.items():
    if config[key] not in (None, ours):
      raise ValueError(f'{key}={config[key]}; the model has {ours}')
  return config['num_virtual_tokens']


def take(body: dict[str, Any], shape: tuple[int, int]) -> Any:
  """Takes the table out of the tensors.

  Raises:
    ValueError: there is none, or it has another shape.
  """
  if NAME not in body or body[NAME].shape != shape:
    there = body[NAME].shape if NAME in body else 'nothing'
    raise ValueError(f'{NAME}: found {there}, the model needs {shape}')
  return body.pop(NAME)
