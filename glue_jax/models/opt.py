"""OPT (Zhang et al. 2022, arXiv 2205.01068): GPT-2's blocks with ReLU.

Learned positions that begin at the table's third row, norms before the
sublayers, biases everywhere, a tied head. The 350M model alone has its norms
after them, none at the end, and words of half its width, which are projected
into the stack and out of it.

Use it: as a decoder in many sizes; MEFT is published on it.
Costs: attention's scores grow with the square of the length.
Not with: rows longer than `max_positions`, 2048 tokens as published; heads
  that read the first token.
"""

from collections.abc import Mapping
from typing import Any

from glue_jax.layers.spec import EncoderConfig
from glue_jax.models import library, llama

SHAPE = 'decoder'

# Rows of the position table before that of position 0.
_OFFSET = 2
_SHARED: dict[str, Any] = dict(
  embeddings='words',
  pooler='last_token',
  type_vocab_size=0,
  causal=True,
  position_offset=_OFFSET,
  layer_norm_eps=1e-5,
)


def _sized(
  layers: int, width: int, num_heads: int, **sizes: Any
) -> EncoderConfig:
  given = dict(
    block='pre',
    final_norm=True,
    vocab_size=50_272,
    num_layers=layers,
    hidden_size=width,
    num_heads=num_heads,
    intermediate_size=4 * width,
    max_positions=2048 + _OFFSET,
    activation='relu',
    pad_id=1,
    dropout=0.1,
    attention_dropout=0.0,
  )
  return EncoderConfig(**(_SHARED | given | sizes))


PRESETS: dict[str, EncoderConfig] = {
  'tiny': _sized(2, 64, 2, max_positions=512 + _OFFSET),
  '125m': _sized(12, 768, 12),
  '350m': _sized(
    24,
    1024,
    16,
    block='post',
    final_norm=False,
    embedding_size=512,
    project_back=True,
  ),  # fmt: skip
  '1.3b': _sized(24, 2048, 32),
  '2.7b': _sized(32, 2560, 32),
  '6.7b': _sized(32, 4096, 32),
  '13b': _sized(40, 5120, 40),
  '30b': _sized(48, 7168, 56),
  '66b': _sized(64, 9216, 72),
}

HEADS = {
  kind: head
  for kind, head in llama.HEADS.items()
  if kind != 'token_classification'
}

_LAYER = 'decoder.layers.{i}.'
NAMES = {
  'decoder/embeddings/word': 'decoder.embed_tokens',
  'decoder/embeddings/position': 'decoder.embed_positions',
  'decoder/embeddings/projection': 'decoder.project_in',
  'decoder/layer_{i}/mixer/query': _LAYER + 'self_attn.q_proj',
  'decoder/layer_{i}/mixer/key': _LAYER + 'self_attn.k_proj',
  'decoder/layer_{i}/mixer/value': _LAYER + 'self_attn.v_proj',
  'decoder/layer_{i}/mixer/attn_out': _LAYER + 'self_attn.out_proj',
  'decoder/layer_{i}/ln_attn': _LAYER + 'self_attn_layer_norm',
  'decoder/layer_{i}/ffn/ffn_in': _LAYER + 'fc1',
  'decoder/layer_{i}/ffn/ffn_out': _LAYER + 'fc2',
  'decoder/layer_{i}/ln_ffn': _LAYER + 'final_layer_norm',
  'decoder/final_norm': 'decoder.final_layer_norm',
  'decoder/projection': 'decoder.project_out',
}
PREFIX = 'model'

HEAD_NAMES = {
  'classification': {'head/out': 'score'},
  'regression': {'head/out': 'score'},
  'span': {'head/out': 'qa_outputs'},
}
TIED = {'lm_head.weight': 'model.decoder.embed_tokens.weight'}
OTHER_HEADS = ('lm_head',)

ARCHITECTURES = {
  kind: name.replace('Llama', 'OPT')
  for kind, name in llama.ARCHITECTURES.items()
  if kind in HEADS
}

MODEL_TYPE = 'opt'
FIELDS = {
  'vocab_size': 'vocab_size',
  'hidden_size': 'hidden_size',
  'embedding_size': 'word_embed_proj_dim',
  'num_layers': 'num_hidden_layers',
  'num_heads': 'num_attention_heads',
  'intermediate_size': 'ffn_dim',
  'max_positions': 'max_position_embeddings',
  'pad_id': 'pad_token_id',
  'dropout': 'dropout',
  'attention_dropout': 'attention_dropout',
  'init_range': 'init_std',
}
DEFAULTS: dict[str, Any] = {
  'activation_function': 'relu',
  'max_position_embeddings': 2048,
  'pad_token_id': 1,
  'word_embed_proj_dim': None,
  'dropout': 0.1,
  'attention_dropout': 0.0,
  'init_std': 0.02,
}
_ONLY = {
  '_remove_final_layer_norm': False,
  'activation_dropout': 0.0,
  'enable_bias': True,
  'layer_norm_elementwise_affine': True,
  'layerdrop': 0.0,
  'tie_word_embeddings': True,
}


def config_from_hf(config: Mapping[str, Any]) -> EncoderConfig:
  """Returns our config for a Hugging Face config.json.

  Raises:
    ValueError: a key is missing, or asks for what this decoder can't do.
  """
  library.refuse(config, _ONLY)
  fields = library.fields_from_hf(
    config, FIELDS, DEFAULTS, 'activation_function'
  )
  fields['max_positions'] += _OFFSET
  if fields['embedding_size'] == fields['hidden_size']:
    fields['embedding_size'] = None
  fields['project_back'] = fields['embedding_size'] is not None
  before = config.get('do_layer_norm_before', True)
  block = 'pre' if before else 'post'
  return EncoderConfig(**(_SHARED | fields), block=block, final_norm=before)


def config_to_hf(config: EncoderConfig) -> dict[str, Any]:
  """Returns the model part of a Hugging Face config.json."""
  values = library.fields_to_hf(config, FIELDS, 'activation_function')
  return values | {
    'model_type': MODEL_TYPE,
    'do_layer_norm_before': config.block == 'pre',
    'max_position_embeddings': config.max_positions - _OFFSET,
    'word_embed_proj_dim': config.embedding_size or config.hidden_size,
  }
