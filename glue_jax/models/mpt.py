"""MPT (MosaicML 2023): a decoder with linear biases in place of positions.

LayerNorms without a bias before the sublayers, no biases at all, GELU, a tied
head. The library's tensor of query, key and value together is three here.

Use it: as a decoder whose weights know no positions.
Costs: as LLaMA, with every head's own keys.
Not with: heads that read the first token; weights with clipped queries
  (`clip_qkv`), learned positions or a prefix that sees itself.
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
  norm='scale_only',
  embeddings='words',
  positions='alibi',
  pooler='last_token',
  position_table=False,
  type_vocab_size=0,
  causal=True,
  final_norm=True,
  use_bias=False,
  activation='gelu',
  layer_norm_eps=1e-5,
)


def _sized(layers: int, width: int, num_heads: int, **sizes: Any):
  given = dict(
    vocab_size=50_432,
    num_layers=layers,
    hidden_size=width,
    num_heads=num_heads,
    intermediate_size=4 * width,
    max_positions=2048,
    dropout=0.0,
    attention_dropout=0.0,
  )
  return EncoderConfig(**(_SHARED | given | sizes))


PRESETS: dict[str, EncoderConfig] = {
  'tiny': _sized(2, 64, 4, max_positions=512),
  '1b': _sized(24, 2048, 16, vocab_size=50_368),
  '7b': _sized(32, 4096, 32),
  '30b': _sized(48, 7168, 64, max_positions=8192),
}

HEADS = llama.HEADS | {'token_classification': HeadSpec(heads.Token)}

NAMES = {
  'decoder/embeddings/word': 'wte',
  'decoder/layer_{i}/ln_attn': 'blocks.{i}.norm_1',
  'decoder/layer_{i}/mixer/query': 'blocks.{i}.attn.Wqkv[0/3]',
  'decoder/layer_{i}/mixer/key': 'blocks.{i}.attn.Wqkv[1/3]',
  'decoder/layer_{i}/mixer/value': 'blocks.{i}.attn.Wqkv[2/3]',
  'decoder/layer_{i}/mixer/attn_out': 'blocks.{i}.attn.out_proj',
  'decoder/layer_{i}/ln_ffn': 'blocks.{i}.norm_2',
  'decoder/layer_{i}/ffn/ffn_in': 'blocks.{i}.ffn.up_proj',
  'decoder/layer_{i}/ffn/ffn_out': 'blocks.{i}.ffn.down_proj',
  'decoder/final_norm': 'norm_f',
}
PREFIX = 'transformer'
HEAD_NAMES = llama.HEAD_NAMES | {
  'token_classification': {'head/out': 'classifier'}
}
TIED = {'lm_head.weight': 'transformer.wte.weight'}
OTHER_HEADS = ('lm_head',)

ARCHITECTURES = {
  kind: name.replace('Llama', 'Mpt')
  for kind, name in llama.ARCHITECTURES.items()
}

MODEL_TYPE = 'mpt'
_ONLY = {
  'expansion_ratio': 4,  # the library's model knows no other
  'embedding_fraction': 1.0,
  'logit_scale': None,
  'no_bias': True,
  'tie_word_embeddings': True,
}
_ATTENTION = {
  'alibi': True,
  'alibi_bias_max': 8,
  'attn_type': 'multihead_attention',
  'attn_uses_sequence_id': False,
  'clip_qkv': None,
  'prefix_lm': False,
  'qk_ln': False,
}


def config_from_hf(config: Mapping[str, Any]) -> EncoderConfig:
  """Returns our config for a Hugging Face config.json.

  Raises:
    ValueError: a key is missing, or asks for what this decoder can't do.
  """
  missing = sorted({'d_model', 'n_heads', 'n_layers', 'vocab_size'} - {*config})
  if missing:
    raise ValueError(f'config.json lacks {missing}')
  attention = dict(config.get('attn_config') or {})
  dropout = config.get('resid_pdrop', 0.0)
  library.refuse(config, _ONLY | {'emb_pdrop': dropout})
  library.refuse(attention, _ATTENTION, 'attn_config.')
  width = config['d_model']
  return EncoderConfig(
    **_SHARED
    | dict(
      vocab_size=config['vocab_size'],
      num_layers=config['n_layers'],
      hidden_size=width,
      num_heads=config['n_heads'],
      intermediate_size=4 * width,
      max_positions=config.get('max_seq_len', 2048),
      pad_id=config.get('pad_token_id'),
      dropout=dropout,
      attention_dropout=attention.get('attn_pdrop', 0.0),
      attention_scale=attention.get('softmax_scale'),
      layer_norm_eps=config.get('layer_norm_epsilon', 1e-5),
      init_range=config.get('initializer_range', 0.02),
    )
  )


def config_to_hf(config: EncoderConfig) -> dict[str, Any]:
  """Returns the model part of a Hugging Face config.json."""
  c = config
  return {
    'model_type': MODEL_TYPE,
    'vocab_size': c.vocab_size,
    'n_layers': c.num_layers,
    'd_model': c.hidden_size,
    'n_heads': c.num_heads,
    'expansion_ratio': 4,
    'max_seq_len': c.max_positions,
    'pad_token_id': c.pad_id,
    'resid_pdrop': c.dropout,
    'emb_pdrop': c.dropout,
    'layer_norm_epsilon': c.layer_norm_eps,
    'initializer_range': c.init_range,
    'no_bias': True,
    'tie_word_embeddings': True,
    'attn_config': {
      'alibi': True,
      # The library declares a whole number, and refuses 0.0.
      'attn_pdrop': c.attention_dropout or 0,
      'softmax_scale': c.attention_scale,
    },
  }
