"""Qwen2 and Qwen2.5 (Yang et al. 2024, arXiv 2407.10671 and 2412.15115).

LLaMA's decoder with biases on query, key and value; upper layers may attend to
the last `sliding_window` tokens only.

Use it: for strong small decoders with a tokenizer of many languages.
Costs: as LLaMA; the vocabulary makes a large word table.
Not with: heads that read the first token.
"""

from collections.abc import Mapping
from typing import Any

from glue_jax.layers.spec import EncoderConfig
from glue_jax.models import llama

SHAPE = 'decoder'


def _sized(
  layers: int, width: int, num_heads: int, intermediate_size: int, **sizes: Any
) -> EncoderConfig:
  shared = dict(
    qkv_bias=True,
    vocab_size=151_936,
    max_positions=32_768,
    layer_norm_eps=1e-6,
    rotary_theta=1_000_000.0,
  )
  return llama.sized(
    layers, width, num_heads, intermediate_size, **(shared | sizes)
  )


PRESETS: dict[str, EncoderConfig] = {
  'tiny': _sized(2, 64, 4, 128, num_kv_heads=2, max_positions=512, tied=True),
  '0.5b': _sized(24, 896, 14, 4864, num_kv_heads=2, tied=True),
  '1.5b': _sized(28, 1536, 12, 8960, num_kv_heads=2, tied=True),
  '3b': _sized(36, 2048, 16, 11_008, num_kv_heads=2, tied=True),
  '7b': _sized(28, 3584, 28, 18_944, num_kv_heads=4, vocab_size=152_064),
  '14b': _sized(48, 5120, 40, 13_824, num_kv_heads=8, vocab_size=152_064),
  '32b': _sized(64, 5120, 40, 27_648, num_kv_heads=8, vocab_size=152_064),
  '72b': _sized(80, 8192, 64, 29_568, num_kv_heads=8, vocab_size=152_064),
}

HEADS, NAMES, PREFIX = llama.HEADS, llama.NAMES, llama.PREFIX
PREFIXES = {'span': 'transformer'}
HEAD_NAMES, TIED = llama.HEAD_NAMES, llama.TIED
OTHER_HEADS, BUFFERS = llama.OTHER_HEADS, llama.BUFFERS
ARCHITECTURES = {
  kind: name.replace('Llama', 'Qwen2')
  for kind, name in llama.ARCHITECTURES.items()
}

MODEL_TYPE = 'qwen2'
DEFAULTS = llama.DEFAULTS | {
  'max_position_embeddings': 32_768,
  'num_key_value_heads': 32,
}


def config_from_hf(config: Mapping[str, Any]) -> EncoderConfig:
  """Returns our config for a Hugging Face config.json; see llama."""
  windows = windows_from_hf(config)
  return llama.from_hf(config, DEFAULTS, {}, qkv_bias=True, **windows)


def config_to_hf(config: EncoderConfig) -> dict[str, Any]:
  """Returns the model part of a Hugging Face config.json."""
  values = {'model_type': MODEL_TYPE} | llama.to_hf(config)
  values.pop('head_dim')  # the library divides the width by the heads
  return values | windows_to_hf(config)


def windows_from_hf(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the fields that say which layers attend to a window.

  Raises:
    ValueError: a kind of layer that isn't known.
  """
  layers, width = config['num_hidden_layers'], config.get('sliding_window')
  if not config.get('use_sliding_window') or width is None:
    return {}
  first = config.get('max_window_layers', 28)
  kinds = config.get('layer_types') or [
    'sliding_attention' if i >= first else 'full_attention'
    for i in range(layers)
  ]
  unknown = sorted(set(kinds) - {'sliding_attention', 'full_attention'})
  if unknown:
    raise ValueError(f'config.json: layer_types has {unknown}, not known here')
  values = [
    width - 1 if kind == 'sliding_attention' else None for kind in kinds
  ]
  return {'per_layer': (('window', tuple(values)),)}


def windows_to_hf(config: EncoderConfig) -> dict[str, Any]:
  """Returns the keys that `windows_from_hf` reads."""
  windows = [config.layer(i).window for i in range(config.num_layers)]
  width = next((w for w in windows if w is not None), None)
  if width is None:
    return {'use_sliding_window': False}
  return {
    'use_sliding_window': True,
    'sliding_window': width + 1,
    'layer_types': [
      'full_attention' if w is None else 'sliding_attention' for w in windows
    ],
  }
