"""LLaMA (Touvron et al. 2023, arXiv 2302.13971 and 2307.09288).

A decoder of norms before the sublayers (RMSNorm), rotary positions and SwiGLU,
without biases; from LLaMA 2's largest on several heads of queries share one of
keys and values. SmolLM2 is of this family. Qwen is written as its differences
from this one.

Use it: for prompts and generation, and as a decoder to be tuned.
Costs: attention's scores grow with the square of the length.
Not with: heads that read the first token: it has seen nothing of the row.
"""

from collections.abc import Mapping
from typing import Any

from glue_jax.layers import heads
from glue_jax.layers.heads import HeadSpec
from glue_jax.layers.spec import EncoderConfig, freeze
from glue_jax.models import library

SHAPE = 'decoder'

_SHARED: dict[str, Any] = dict(
  block='pre',
  norm='rms',
  embeddings='words',
  positions='rotary',
  pooler='last_token',
  ffn='gated',
  position_table=False,
  type_vocab_size=0,
  causal=True,
  final_norm=True,
  use_bias=False,
  activation='silu',
  dropout=0.0,
  attention_dropout=0.0,
)


def sized(
  layers: int,
  width: int,
  num_heads: int,
  intermediate_size: int,
  **kwargs: Any,
) -> EncoderConfig:
  """Returns a LLaMA of the given sizes."""
  sizes = dict(
    vocab_size=32_000,
    num_layers=layers,
    hidden_size=width,
    num_heads=num_heads,
    intermediate_size=intermediate_size,
    max_positions=4096,
    layer_norm_eps=1e-5,
    tied=False,
  )
  return EncoderConfig(**(_SHARED | sizes | kwargs))


_LLAMA_3: dict[str, Any] = dict(
  vocab_size=128_256,
  num_kv_heads=8,
  rotary_theta=500_000.0,
  max_positions=131_072,
)
_STRETCHED = freeze(
  {
    'rope_type': 'llama3',
    'factor': 32.0,
    'low_freq_factor': 1.0,
    'high_freq_factor': 4.0,
    'original_max_position_embeddings': 8192,
  }
)
PRESETS: dict[str, EncoderConfig] = {
  'tiny': sized(2, 64, 4, 128, num_kv_heads=2, max_positions=512),
  'smollm2_135m': sized(
    30, 576, 9, 1536,
    vocab_size=49_152, num_kv_heads=3, max_positions=8192, tied=True,
    rotary_theta=100_000.0,
  ),
  'smollm2_360m': sized(
    32, 960, 15, 2560,
    vocab_size=49_152, num_kv_heads=5, max_positions=8192, tied=True,
    rotary_theta=100_000.0,
  ),
  'smollm2_1.7b': sized(
    24, 2048, 32, 8192,
    vocab_size=49_152, max_positions=8192, tied=True, rotary_theta=130_000.0,
  ),
  'llama_2_7b': sized(32, 4096, 32, 11_008),
  'llama_2_13b': sized(40, 5120, 40, 13_824),
  'llama_2_70b': sized(80, 8192, 64, 28_672, num_kv_heads=8),
  'llama_3.2_1b': sized(
    16, 2048, 32, 8192,
    **_LLAMA_3, tied=True, rotary_scaling=_STRETCHED, head_dim=64,
  ),
  'llama_3.2_3b': sized(
    28, 3072, 24, 8192,
    **_LLAMA_3, tied=True, rotary_scaling=_STRETCHED, head_dim=128,
  ),
  'llama_3_8b': sized(
    32, 4096, 32, 14_336, **(_LLAMA_3 | dict(max_positions=8192))
  ),
  'llama_3_70b': sized(
    80, 8192, 64, 28_672, **(_LLAMA_3 | dict(max_positions=8192))
  ),
}  # fmt: skip

_LAST = ('use_bias', False)
HEADS: dict[str, HeadSpec] = {
  'encoder': HeadSpec(None),
  'causal_lm': HeadSpec(heads.CausalLM),
  'classification': HeadSpec(heads.Sentence, True, (_LAST,)),
  'regression': HeadSpec(heads.Sentence, True, (_LAST, ('squeeze', True))),
  'multiple_choice': HeadSpec(heads.Sentence, True, (_LAST, ('squeeze', True))),
  'token_classification': HeadSpec(heads.Token),
  'span': HeadSpec(heads.Span),
}

NAMES = {
  'decoder/embeddings/word': 'embed_tokens',
  'decoder/layer_{i}/mixer/query': 'layers.{i}.self_attn.q_proj',
  'decoder/layer_{i}/mixer/key': 'layers.{i}.self_attn.k_proj',
  'decoder/layer_{i}/mixer/value': 'layers.{i}.self_attn.v_proj',
  'decoder/layer_{i}/mixer/attn_out': 'layers.{i}.self_attn.o_proj',
  'decoder/layer_{i}/ln_attn': 'layers.{i}.input_layernorm',
  'decoder/layer_{i}/ffn/ffn_gate': 'layers.{i}.mlp.gate_proj',
  'decoder/layer_{i}/ffn/ffn_in': 'layers.{i}.mlp.up_proj',
  'decoder/layer_{i}/ffn/ffn_out': 'layers.{i}.mlp.down_proj',
  'decoder/layer_{i}/ln_ffn': 'layers.{i}.post_attention_layernorm',
  'decoder/final_norm': 'norm',
}
PREFIX = 'model'
PREFIXES = {'span': 'transformer'}  # as the library has it

HEAD_NAMES = {
  'causal_lm': {'head/words': 'lm_head'},
  'classification': {'head/out': 'score'},
  'regression': {'head/out': 'score'},
  'token_classification': {'head/out': 'score'},
  'span': {'head/out': 'qa_outputs'},
}
TIED = {'lm_head.weight': 'model.embed_tokens.weight'}
OTHER_HEADS = ('lm_head',)
# Constants that files of older libraries hold.
BUFFERS = (r'layers\.\d+\.self_attn\.rotary_emb\.inv_freq',)

ARCHITECTURES = {
  'encoder': 'LlamaModel',
  'causal_lm': 'LlamaForCausalLM',
  'classification': 'LlamaForSequenceClassification',
  'regression': 'LlamaForSequenceClassification',
  'token_classification': 'LlamaForTokenClassification',
  'span': 'LlamaForQuestionAnswering',
}

MODEL_TYPE = 'llama'
FIELDS = {
  'vocab_size': 'vocab_size',
  'hidden_size': 'hidden_size',
  'num_layers': 'num_hidden_layers',
  'num_heads': 'num_attention_heads',
  'num_kv_heads': 'num_key_value_heads',
  'head_dim': 'head_dim',
  'intermediate_size': 'intermediate_size',
  'max_positions': 'max_position_embeddings',
  'pad_id': 'pad_token_id',
  'layer_norm_eps': 'rms_norm_eps',
  'attention_dropout': 'attention_dropout',
  'init_range': 'initializer_range',
  'tied': 'tie_word_embeddings',
}
DEFAULTS: dict[str, Any] = {
  'hidden_act': 'silu',
  'num_key_value_heads': None,
  'head_dim': None,
  'max_position_embeddings': 2048,
  'pad_token_id': None,
  'rms_norm_eps': 1e-6,
  'attention_dropout': 0.0,
  'initializer_range': 0.02,
  'tie_word_embeddings': False,
  'rope_theta': 10_000.0,
}

# Done here as the library does it where a folder leaves them out.
_ONLY = {'attention_bias': False, 'mlp_bias': False, 'pretraining_tp': 1}


def config_from_hf(config: Mapping[str, Any]) -> EncoderConfig:
  """Returns our config for a Hugging Face config.json.

  Raises:
    ValueError: a key is missing, or asks for what this decoder can't do.
  """
  return from_hf(config, DEFAULTS, _ONLY)


def config_to_hf(config: EncoderConfig) -> dict[str, Any]:
  """Returns the model part of a Hugging Face config.json."""
  return {'model_type': MODEL_TYPE} | to_hf(config)


def from_hf(
  config: Mapping[str, Any],
  defaults: Mapping[str, Any],
  only: Mapping[str, Any],
  **own: Any,
) -> EncoderConfig:
  """Returns our config for a config.json of this kind of decoder.

  Args:
    config: its content.
    defaults: of keys that it leaves out.
    only: {key: the value that is done here}.
    **own: fields that differ from LLaMA's.

  Raises:
    ValueError: a key is missing, or asks for what this decoder can't do.
  """
  library.refuse(config, only)
  fields = library.fields_from_hf(config, FIELDS, defaults, 'hidden_act')
  theta, scaling = library.rotary_from_hf(config, defaults)
  fields |= dict(rotary_theta=theta, rotary_scaling=scaling)
  fields['num_kv_heads'] = fields['num_kv_heads'] or fields['num_heads']
  return EncoderConfig(**(_SHARED | fields | own))


def to_hf(config: EncoderConfig) -> dict[str, Any]:
  """Returns the config.json keys that follow from our config."""
  values = library.fields_to_hf(config, FIELDS, 'hidden_act')
  return values | {
    'head_dim': config.head_width,
    'num_key_value_heads': config.num_kv_heads or config.num_heads,
    'rope_parameters': library.rotary_to_hf(config),
  }
