"""Qwen3 (Yang et al. 2025, arXiv 2505.09388), the dense models.

Qwen2's decoder without biases, with an RMSNorm on each head's query and key,
and heads whose width isn't the model's over their number.

Use it: as Qwen2; newer.
Costs: as LLaMA.
Not with: heads that read the first token; the mixture-of-experts sizes.
"""

from collections.abc import Mapping
from typing import Any

from glue_jax.layers.spec import EncoderConfig
from glue_jax.models import llama, qwen2

SHAPE = 'decoder'


def _sized(
  layers: int, width: int, num_heads: int, intermediate_size: int, **sizes: Any
) -> EncoderConfig:
  shared = dict(
    qk_norm=True,
    vocab_size=151_936,
    num_kv_heads=8,
    head_dim=128,
    max_positions=40_960,
    layer_norm_eps=1e-6,
    rotary_theta=1_000_000.0,
  )
  return llama.sized(
    layers, width, num_heads, intermediate_size, **(shared | sizes)
  )


PRESETS: dict[str, EncoderConfig] = {
  'tiny': _sized(
    2, 64, 4, 128, num_kv_heads=2, head_dim=24, max_positions=512, tied=True
  ),
  '0.6b': _sized(28, 1024, 16, 3072, tied=True),
  '1.7b': _sized(28, 2048, 16, 6144, tied=True),
  '4b': _sized(36, 2560, 32, 9728, tied=True),
  '8b': _sized(36, 4096, 32, 12_288),
  '14b': _sized(40, 5120, 40, 17_408),
  '32b': _sized(64, 5120, 64, 25_600),
}

HEADS, PREFIX, PREFIXES = llama.HEADS, llama.PREFIX, qwen2.PREFIXES
NAMES = llama.NAMES | {
  'decoder/layer_{i}/mixer/query_norm': 'layers.{i}.self_attn.q_norm',
  'decoder/layer_{i}/mixer/key_norm': 'layers.{i}.self_attn.k_norm',
}
HEAD_NAMES, TIED = llama.HEAD_NAMES, llama.TIED
OTHER_HEADS, BUFFERS = llama.OTHER_HEADS, llama.BUFFERS
ARCHITECTURES = {
  kind: name.replace('Llama', 'Qwen3')
  for kind, name in llama.ARCHITECTURES.items()
}

MODEL_TYPE = 'qwen3'
DEFAULTS = qwen2.DEFAULTS | {'head_dim': 128}


def config_from_hf(config: Mapping[str, Any]) -> EncoderConfig:
  """Returns our config for a Hugging Face config.json; see llama."""
  only = {'attention_bias': False}
  windows = qwen2.windows_from_hf(config)
  return llama.from_hf(config, DEFAULTS, only, qk_norm=True, **windows)


def config_to_hf(config: EncoderConfig) -> dict[str, Any]:
  """Returns the model part of a Hugging Face config.json."""
  values = {'model_type': MODEL_TYPE} | llama.to_hf(config)
  return values | qwen2.windows_to_hf(config)
