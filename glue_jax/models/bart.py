"""BART (Lewis et al. 2020, arXiv 1910.13461): encoder and decoder, denoising.

BERT's blocks (norms after the sublayers) in both stacks, learned positions that
begin at the table's third row, a norm after the embeddings, a tied head. A
class is read off the decoder at the input's last end token, a span off all of
its tokens.

Use it: to write text from text; also for classes and spans.
Costs: about two encoders of the size; for classes the input runs through both.
Not with: rows longer than `max_positions`, 1024 tokens as published; tags of
  words.
"""

from collections.abc import Mapping
from typing import Any

from glue_jax.layers import heads
from glue_jax.layers.heads import HeadSpec
from glue_jax.layers.spec import EncoderConfig
from glue_jax.models import library, seq2seq

SHAPE = 'seq2seq'

# Rows of the position tables before that of position 0.
_OFFSET = 2
_SHARED: dict[str, Any] = dict(
  embeddings='normed',
  pooler='end_token',
  type_vocab_size=0,
  position_offset=_OFFSET,
  layer_norm_eps=1e-5,
)
# What the two stacks may differ in: our field -> the key of the decoder's.
_OF_DECODER = {
  'num_layers': 'decoder_layers',
  'num_heads': 'decoder_attention_heads',
  'intermediate_size': 'decoder_ffn_dim',
}


def _sized(layers: int, width: int, num_heads: int, **sizes: Any):
  given = dict(
    vocab_size=50_265,
    num_layers=layers,
    hidden_size=width,
    num_heads=num_heads,
    intermediate_size=4 * width,
    max_positions=1024 + _OFFSET,
    attention_dropout=0.0,
    activation_dropout=0.0,
    head_dropout=0.0,
    pad_id=1,
    start_id=2,
    end_id=2,
  )
  return EncoderConfig(**(_SHARED | given | sizes))


PRESETS: dict[str, EncoderConfig] = {
  'tiny': _sized(2, 64, 2, max_positions=512 + _OFFSET),
  'base': _sized(6, 768, 12, attention_dropout=0.1, activation_dropout=0.1),
  'large': _sized(12, 1024, 16, attention_dropout=0.1, activation_dropout=0.1),
}

HEADS = seq2seq.HEADS | {
  'seq2seq_lm': HeadSpec(heads.CausalLM, options=(('offset', True),))
}

NAMES = {'encoder/embeddings/word': 'shared'}
for _stack in ('encoder', 'decoder'):
  _layer = f'{_stack}/layer_{{i}}/'
  _theirs = f'{_stack}.layers.{{i}}.'
  NAMES |= {
    f'{_stack}/embeddings/position': f'{_stack}.embed_positions',
    f'{_stack}/embeddings/ln': f'{_stack}.layernorm_embedding',
    _layer + 'ln_attn': _theirs + 'self_attn_layer_norm',
    _layer + 'ln_cross': _theirs + 'encoder_attn_layer_norm',
    _layer + 'ffn/ffn_in': _theirs + 'fc1',
    _layer + 'ffn/ffn_out': _theirs + 'fc2',
    _layer + 'ln_ffn': _theirs + 'final_layer_norm',
  }
  for _ours, _name in {'mixer': 'self_attn', 'cross': 'encoder_attn'}.items():
    NAMES |= {
      _layer + f'{_ours}/query': _theirs + f'{_name}.q_proj',
      _layer + f'{_ours}/key': _theirs + f'{_name}.k_proj',
      _layer + f'{_ours}/value': _theirs + f'{_name}.v_proj',
      _layer + f'{_ours}/attn_out': _theirs + f'{_name}.out_proj',
    }
PREFIX = 'model'

HEAD_NAMES = {
  'seq2seq_lm': {'head/bias': 'final_logits_bias'},
  'classification': seq2seq.CLASSES,
  'regression': seq2seq.CLASSES,
  'span': {'head/out': 'qa_outputs'},
}
COPIES = seq2seq.COPIES
TIED = {'lm_head.weight': 'model.shared.weight'}
OTHER_HEADS = ('lm_head',)
BUFFERS = (r'final_logits_bias',)

_CLASSIFIER = 'BartForSequenceClassification'
ARCHITECTURES = {
  'encoder': 'BartModel',
  'seq2seq_lm': 'BartForConditionalGeneration',
  'classification': _CLASSIFIER,
  'regression': _CLASSIFIER,
  'span': 'BartForQuestionAnswering',
}

MODEL_TYPE = 'bart'
FIELDS = {
  'vocab_size': 'vocab_size',
  'hidden_size': 'd_model',
  'num_layers': 'encoder_layers',
  'num_heads': 'encoder_attention_heads',
  'intermediate_size': 'encoder_ffn_dim',
  'max_positions': 'max_position_embeddings',
  'pad_id': 'pad_token_id',
  'start_id': 'decoder_start_token_id',
  'end_id': 'eos_token_id',
  'dropout': 'dropout',
  'attention_dropout': 'attention_dropout',
  'activation_dropout': 'activation_dropout',
  'head_dropout': 'classifier_dropout',
  'init_range': 'init_std',
}
DEFAULTS: dict[str, Any] = {
  'activation_function': 'gelu',
  'max_position_embeddings': 1024,
  'pad_token_id': 1,
  'decoder_start_token_id': 2,
  'eos_token_id': 2,
  'dropout': 0.1,
  'attention_dropout': 0.0,
  'activation_dropout': 0.0,
  'classifier_dropout': 0.0,
  'init_std': 0.02,
}
_ONLY = {
  'add_bias_logits': False,
  'add_final_layer_norm': False,
  'decoder_layerdrop': 0.0,
  'encoder_layerdrop': 0.0,
  'extra_pos_embeddings': _OFFSET,
  'is_decoder': False,
  'is_encoder_decoder': True,
  'normalize_before': False,
  'normalize_embedding': True,
  'static_position_embeddings': False,
  'tie_word_embeddings': True,
}


def config_from_hf(config: Mapping[str, Any]) -> EncoderConfig:
  """Returns our config for a Hugging Face config.json.

  Raises:
    ValueError: a key is missing, or asks for what this model can't do.
  """
  library.refuse(config, _ONLY)
  fields = library.fields_from_hf(
    config, FIELDS, DEFAULTS, 'activation_function'
  )
  fields['max_positions'] += _OFFSET
  fields['decoder'] = library.apart(
    fields, library.given(config, _OF_DECODER, DEFAULTS)
  )
  if config.get('scale_embedding'):
    fields['embedding_scale'] = fields['hidden_size'] ** 0.5
  return EncoderConfig(**(_SHARED | fields))


def config_to_hf(config: EncoderConfig) -> dict[str, Any]:
  """Returns the model part of a Hugging Face config.json."""
  values = library.fields_to_hf(config, FIELDS, 'activation_function')
  own = {name: getattr(config.of_decoder, name) for name in _OF_DECODER}
  return values | {
    'model_type': MODEL_TYPE,
    'is_encoder_decoder': True,
    'max_position_embeddings': config.max_positions - _OFFSET,
    'scale_embedding': config.embedding_scale != 1,
    **{theirs: own[ours] for ours, theirs in _OF_DECODER.items()},
  }
