"""GPT-2 (Radford et al. 2019): a decoder of LayerNorms before the sublayers.

Learned positions, biases everywhere, the tanh GELU, a tied head.

Use it: as the oldest decoder that everybody knows; small sizes are quick.
Costs: attention's scores grow with the square of the length.
Not with: rows longer than `max_positions`, 1024 as published; heads that read
  the first token.
"""

from collections.abc import Mapping
from typing import Any

from glue_jax.layers import heads
from glue_jax.layers.heads import HeadSpec
from glue_jax.layers.spec import EncoderConfig
from glue_jax.models import library, llama

SHAPE = 'decoder'

_SHARED: dict[str, Any] = dict(
  block='pre',
  embeddings='words',
  pooler='last_token',
  type_vocab_size=0,
  causal=True,
  final_norm=True,
)


def _sized(layers: int, width: int, num_heads: int) -> EncoderConfig:
  return EncoderConfig(
    **_SHARED,
    vocab_size=50_257,
    num_layers=layers,
    hidden_size=width,
    num_heads=num_heads,
    intermediate_size=4 * width,
    max_positions=1024,
    layer_norm_eps=1e-5,
    activation='gelu_tanh',
  )


PRESETS: dict[str, EncoderConfig] = {
  'tiny': _sized(2, 64, 2),
  'distil': _sized(6, 768, 12),
  'small': _sized(12, 768, 12),
  'medium': _sized(24, 1024, 16),
  'large': _sized(36, 1280, 20),
  'xl': _sized(48, 1600, 25),
}

HEADS = llama.HEADS | {'token_classification': HeadSpec(heads.Token)}

NAMES = {
  'decoder/embeddings/word': 'wte',
  'decoder/embeddings/position': 'wpe',
  'decoder/layer_{i}/ln_attn': 'h.{i}.ln_1',
  'decoder/layer_{i}/mixer/query': 'h.{i}.attn.c_attn[0/3]',
  'decoder/layer_{i}/mixer/key': 'h.{i}.attn.c_attn[1/3]',
  'decoder/layer_{i}/mixer/value': 'h.{i}.attn.c_attn[2/3]',
  'decoder/layer_{i}/mixer/attn_out': 'h.{i}.attn.c_proj',
  'decoder/layer_{i}/ln_ffn': 'h.{i}.ln_2',
  'decoder/layer_{i}/ffn/ffn_in': 'h.{i}.mlp.c_fc',
  'decoder/layer_{i}/ffn/ffn_out': 'h.{i}.mlp.c_proj',
  'decoder/final_norm': 'ln_f',
}
# The library keeps these kernels as we do, (in, out).
AS_STORED = (r'(transformer\.)?h\.',)
PREFIX = 'transformer'
HEAD_NAMES = llama.HEAD_NAMES | {
  'token_classification': {'head/out': 'classifier'}
}
TIED = {'lm_head.weight': 'transformer.wte.weight'}
OTHER_HEADS = ('lm_head',)
# Masks that files of older libraries hold.
BUFFERS = (r'h\.\d+\.attn\.(bias|masked_bias)',)

ARCHITECTURES = {
  kind: name.replace('LlamaForCausalLM', 'GPT2LMHeadModel').replace(
    'Llama', 'GPT2'
  )
  for kind, name in llama.ARCHITECTURES.items()
}

MODEL_TYPE = 'gpt2'
FIELDS = {
  'vocab_size': 'vocab_size',
  'hidden_size': 'n_embd',
  'num_layers': 'n_layer',
  'num_heads': 'n_head',
  'intermediate_size': 'n_inner',
  'max_positions': 'n_positions',
  'pad_id': 'pad_token_id',
  'layer_norm_eps': 'layer_norm_epsilon',
  'dropout': 'resid_pdrop',
  'attention_dropout': 'attn_pdrop',
  'init_range': 'initializer_range',
}
DEFAULTS: dict[str, Any] = {
  'activation_function': 'gelu_new',
  'n_inner': None,
  'n_positions': 1024,
  'pad_token_id': None,
  'layer_norm_epsilon': 1e-5,
  'resid_pdrop': 0.1,
  'attn_pdrop': 0.1,
  'initializer_range': 0.02,
}
_ONLY = {
  'add_cross_attention': False,
  'scale_attn_by_inverse_layer_idx': False,
  'scale_attn_weights': True,
  'tie_word_embeddings': True,
}


def config_from_hf(config: Mapping[str, Any]) -> EncoderConfig:
  """Returns our config for a Hugging Face config.json.

  Raises:
    ValueError: a key is missing, or asks for what this decoder can't do.
  """
  fields = library.fields_from_hf(
    config, FIELDS, DEFAULTS, 'activation_function'
  )
  library.refuse(config, _ONLY | {'embd_pdrop': fields['dropout']})
  fields['intermediate_size'] = (
    fields['intermediate_size'] or 4 * fields['hidden_size']
  )
  return EncoderConfig(**_SHARED, **fields)


def config_to_hf(config: EncoderConfig) -> dict[str, Any]:
  """Returns the model part of a Hugging Face config.json."""
  values = library.fields_to_hf(config, FIELDS, 'activation_function')
  return {'model_type': MODEL_TYPE, 'embd_pdrop': config.dropout} | values
