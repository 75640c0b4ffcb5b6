"""T5 (Raffel et al. 2020, arXiv 1910.10683): text in, text out.

Norms before the sublayers (RMS), no biases, scores that aren't scaled, and
positions as a bias of each head by distance, in buckets: of both directions in
the encoder, of what came before in the decoder, none across. Version 1.0 has
ReLU and a head tied to the word table, which reads states times D^-0.5; 1.1
(Shazeer 2020, arXiv 2002.05202; also Flan-T5) a gated GELU and a matrix of its
own. Fresh weights have the spread of the official code.

Use it: to write text from text, or for any task put as such; rows of any
  length.
Costs: about two encoders of the size; for classes the input runs through both.
Not with: tags of words; float16 (states of the larger sizes overflow).
"""

from collections.abc import Mapping
from typing import Any

from glue_jax.layers.spec import EncoderConfig, freeze
from glue_jax.models import library, seq2seq

SHAPE = 'seq2seq'

_SHARED: dict[str, Any] = dict(
  block='pre',
  norm='rms',
  embeddings='words',
  positions='relative_buckets',
  pooler='end_token',
  position_table=False,
  max_positions=0,
  type_vocab_size=0,
  final_norm=True,
  use_bias=False,
  attention_scale=1.0,
  init='fan_in',
)
# Dropout has one rate for all of these.
_RATES = (
  'dropout', 'attention_dropout', 'activation_dropout', 'final_dropout',
)  # fmt: skip


def _sized(
  layers: int, width: int, num_heads: int, intermediate_size: int, **sizes: Any
) -> EncoderConfig:
  given = dict(
    vocab_size=32_128,
    num_layers=layers,
    hidden_size=width,
    num_heads=num_heads,
    head_dim=64,
    intermediate_size=intermediate_size,
    layer_norm_eps=1e-6,
    activation='relu',
    pad_id=0,
    start_id=0,
    end_id=1,
    init_range=1.0,
    head_dropout=0.0,
    output_scale=width**-0.5,
    options=_buckets(32, 128),
    **dict.fromkeys(_RATES, 0.1),
  )
  return EncoderConfig(**(_SHARED | given | sizes))


def _buckets(buckets: int, max_distance: int) -> Any:
  own = {'buckets': buckets, 'max_distance': max_distance}
  return freeze({'relative_buckets': own})


# What 1.1 differs in.
_GATED: dict[str, Any] = dict(
  ffn='gated', activation='gelu_tanh', tied=False, output_scale=1.0
)
PRESETS: dict[str, EncoderConfig] = {
  'tiny': _sized(2, 64, 4, 128, head_dim=16, **_GATED),
  'small': _sized(6, 512, 8, 2048),
  'base': _sized(12, 768, 12, 3072),
  'large': _sized(24, 1024, 16, 4096),
  '3b': _sized(24, 1024, 32, 16_384, head_dim=128),
  '11b': _sized(24, 1024, 128, 65_536, head_dim=128),
  'v1_1_small': _sized(8, 512, 6, 1024, **_GATED),
  'v1_1_base': _sized(12, 768, 12, 2048, **_GATED),
  'v1_1_large': _sized(24, 1024, 16, 2816, **_GATED),
  'v1_1_xl': _sized(24, 2048, 32, 5120, **_GATED),
  'v1_1_xxl': _sized(24, 4096, 64, 10_240, **_GATED),
}

HEADS = seq2seq.HEADS

# Theirs has a block's sublayers numbered.
_SUBLAYERS = {
  'encoder': {'mixer': 'SelfAttention', 'ffn': 'DenseReluDense'},
  'decoder': {
    'mixer': 'SelfAttention',
    'cross': 'EncDecAttention',
    'ffn': 'DenseReluDense',
  },
}
_PARTS = {'query': 'q', 'key': 'k', 'value': 'v', 'attn_out': 'o'}
_NORMS = {'mixer': 'ln_attn', 'cross': 'ln_cross', 'ffn': 'ln_ffn'}
NAMES = {'encoder/embeddings/word': 'shared'}
for _stack, _sublayers in _SUBLAYERS.items():
  _first = f'{_stack}.block.0.layer.0.SelfAttention.'
  NAMES[f'{_stack}/positions'] = _first + 'relative_attention_bias'
  NAMES[f'{_stack}/final_norm'] = f'{_stack}.final_layer_norm'
  for _i, (_part, _theirs) in enumerate(_sublayers.items()):
    _ours = f'{_stack}/layer_{{i}}/'
    _place = f'{_stack}.block.{{i}}.layer.{_i}.'
    NAMES[_ours + _NORMS[_part]] = _place + 'layer_norm'
    if _part == 'ffn':
      NAMES |= {
        _ours + 'ffn/ffn_gate': f'{_place}{_theirs}.wi_0',
        _ours + 'ffn/ffn_in': f'{_place}{_theirs}.wi_1',
        _ours + 'ffn/ffn_out': f'{_place}{_theirs}.wo',
      }
    else:
      NAMES |= {
        f'{_ours}{_part}/{mine}': f'{_place}{_theirs}.{name}'
        for mine, name in _PARTS.items()
      }

PREFIX = ''
_WRAPPED = ('classification', 'regression', 'multiple_choice')
PREFIXES = dict.fromkeys(_WRAPPED, 'transformer')

HEAD_NAMES = {
  'seq2seq_lm': {'head/words': 'lm_head'},
  'classification': seq2seq.CLASSES,
  'regression': seq2seq.CLASSES,
  'span': {'head/out': 'qa_outputs'},
}
COPIES = seq2seq.COPIES
TIED = {'lm_head.weight': 'shared.weight'}
OTHER_HEADS = ('lm_head',)
# Files of older libraries hold a table that nothing reads.
BUFFERS = (
  r'decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias'
  r'\.weight',
)

_CLASSIFIER = 'T5ForSequenceClassification'
ARCHITECTURES = {
  'encoder': 'T5Model',
  'seq2seq_lm': 'T5ForConditionalGeneration',
  'classification': _CLASSIFIER,
  'regression': _CLASSIFIER,
  'span': 'T5ForQuestionAnswering',
}

MODEL_TYPE = 't5'
FIELDS = {
  'vocab_size': 'vocab_size',
  'hidden_size': 'd_model',
  'num_layers': 'num_layers',
  'num_heads': 'num_heads',
  'head_dim': 'd_kv',
  'intermediate_size': 'd_ff',
  'pad_id': 'pad_token_id',
  'start_id': 'decoder_start_token_id',
  'end_id': 'eos_token_id',
  'layer_norm_eps': 'layer_norm_epsilon',
  'head_dropout': 'classifier_dropout',
  'init_range': 'initializer_factor',
  'tied': 'tie_word_embeddings',
}
DEFAULTS: dict[str, Any] = {
  'pad_token_id': 0,
  'decoder_start_token_id': 0,
  'eos_token_id': 1,
  'layer_norm_epsilon': 1e-6,
  'classifier_dropout': 0.0,
  'initializer_factor': 1.0,
  'tie_word_embeddings': True,
}
_ONLY = {'is_decoder': False, 'is_encoder_decoder': True}


def names(config: EncoderConfig) -> dict[str, str]:
  """Returns NAMES of a config: those of the feed-forward part depend on it."""
  if config.ffn == 'gated':
    return NAMES
  return {
    ours: theirs.replace('.wi_1', '.wi') for ours, theirs in NAMES.items()
  }


def config_from_hf(config: Mapping[str, Any]) -> EncoderConfig:
  """Returns our config for a Hugging Face config.json.

  Raises:
    ValueError: a key is missing, or asks for what this model can't do.
  """
  library.refuse(config, _ONLY)
  fields = library.given(config, FIELDS, DEFAULTS)
  *gated, act = config.get('feed_forward_proj', 'relu').split('-')
  if gated not in ([], ['gated']):
    raise ValueError(
      f'config.json: feed_forward_proj={config["feed_forward_proj"]!r}; '
      "expected an activation, or 'gated-' and one"
    )
  # Its gated GELU is the approximation, whatever the name says.
  act = 'gelu_new' if gated and act == 'gelu' else act
  fields['activation'] = library.activation_from_hf(act, 'feed_forward_proj')
  fields['ffn'] = 'gated' if gated else 'feedforward'
  fields |= {name: config.get('dropout_rate', 0.1) for name in _RATES}
  layers = config.get('num_decoder_layers') or fields['num_layers']
  # Files without the key scale where the head is tied.
  if config.get('scale_decoder_outputs', fields['tied']):
    fields['output_scale'] = fields['hidden_size'] ** -0.5
  return EncoderConfig(
    **_SHARED | fields,
    decoder=library.apart(fields, {'num_layers': layers}),
    options=_buckets(
      config.get('relative_attention_num_buckets', 32),
      config.get('relative_attention_max_distance', 128),
    ),
  )


def config_to_hf(config: EncoderConfig) -> dict[str, Any]:
  """Returns the model part of a Hugging Face config.json."""
  values = {theirs: getattr(config, ours) for ours, theirs in FIELDS.items()}
  act = library.activation_to_hf(config.activation)
  act = 'gelu' if config.ffn == 'gated' and act == 'gelu_new' else act
  own = dict(dict(config.options)['relative_buckets'])
  return values | {
    'model_type': MODEL_TYPE,
    'is_encoder_decoder': True,
    'dropout_rate': config.dropout,
    'feed_forward_proj': f'gated-{act}' if config.ffn == 'gated' else act,
    'num_decoder_layers': config.of_decoder.num_layers,
    'relative_attention_max_distance': own['max_distance'],
    'relative_attention_num_buckets': own['buckets'],
    'scale_decoder_outputs': config.output_scale != 1,
  }
