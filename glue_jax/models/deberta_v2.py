"""DeBERTa v2 and v3 (He et al. 2021, arXiv 2006.03654 and 2111.09543).

BERT's blocks with disentangled attention: one table of relative positions for
all layers, whose keys and queries are made by the layers of content; no token
types and, in v3, no absolute positions. The largest v2 sizes have a convolution
beside the first block.

Use it: v3 is the strongest of the small encoders when tuned.
Costs: each layer's two products with the table and their gathers; the
  vocabulary of 128,100 makes half of the smaller sizes' parameters.
Not with: generation of masked words: released v3 weights have no such head.

Pre-training is objectives/rtd_shared.py (v3), whose generator is this with the
stack 'mask_decoder', and objectives/mlm_ngrams.py (v1, v2).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from glue_jax.layers import heads
from glue_jax.layers.heads import HeadSpec
from glue_jax.layers.spec import EncoderConfig, freeze
from glue_jax.models import bert, library

_SHARED: dict[str, Any] = dict(
  embeddings='deberta',
  mixer='disentangled',
  positions='relative_table',
  vocab_size=128_100,
  type_vocab_size=0,
  layer_norm_eps=1e-7,
)


def _options(
  buckets: int, span: int, terms: tuple, share_key: bool, norm: bool
) -> dict[str, Any]:
  return {
    'disentangled': {
      'buckets': buckets,
      'span': span,
      'terms': terms,
      'share_key': share_key,
    },
    'relative_table': {'rows': 2 * (buckets or span), 'norm': norm},
  }


_USUAL = _options(256, 512, ('c2p', 'p2c'), True, True)


def _sized(layers: int, width: int, num_heads: int, **sizes: Any):
  shared = _SHARED | dict(position_table=False, options=freeze(_USUAL))
  given = bert.sized(layers, width, num_heads) | shared | sizes
  return EncoderConfig(**given)


def _convolved(config: EncoderConfig) -> EncoderConfig:
  options = _USUAL | {'convolved': {'kernel_size': 3, 'activation': 'gelu'}}
  return dataclasses.replace(
    config, options=freeze(options), per_layer=_first(config.num_layers)
  )


def _first(layers: int) -> tuple:
  return (('block', ('convolved', *(['post'] * (layers - 1)))),)


PRESETS: dict[str, EncoderConfig] = {
  'tiny': _sized(2, 64, 2),
  'v3_xsmall': _sized(12, 384, 6),
  'v3_small': _sized(6, 768, 12),
  'v3_base': _sized(12, 768, 12),
  'v3_large': _sized(24, 1024, 16),
  'mdeberta_v3_base': _sized(12, 768, 12, vocab_size=251_000),
  'v2_xlarge': _convolved(_sized(24, 1536, 24)),
  'v2_xxlarge': _convolved(_sized(48, 1536, 24)),
}

_GELU = (('hidden', 'gelu'), ('first_dropout', False))
HEADS = {
  'encoder': HeadSpec(None),
  'classification': HeadSpec(heads.Sentence, options=_GELU),
  'regression': HeadSpec(heads.Sentence, options=(*_GELU, ('squeeze', True))),
  'multiple_choice': HeadSpec(
    heads.Sentence, options=(*_GELU, ('squeeze', True))
  ),
  'token_classification': HeadSpec(heads.Token),
  'span': HeadSpec(heads.Span),
  'mlm': HeadSpec(heads.MaskedLM),
  'replaced_tokens': HeadSpec(heads.ReplacedTokens, options=(('first', True),)),
}

_SELF = 'encoder.layer.{i}.attention.self.'
NAMES = {
  ours: theirs + ('_proj' if '.self.' in theirs else '')
  for ours, theirs in bert.NAMES.items()
  if not ours.startswith('pooler')
} | {
  'encoder/embeddings/projection': 'embeddings.embed_proj',
  'encoder/positions': 'encoder.rel_embeddings',
  'encoder/positions/ln': 'encoder.LayerNorm',
  'encoder/positions/absolute': 'embeddings.position_embeddings',
  'encoder/layer_{i}/mixer/position_key': _SELF + 'pos_key_proj',
  'encoder/layer_{i}/mixer/position_query': _SELF + 'pos_query_proj',
  'encoder/layer_{i}/conv': 'encoder.conv.conv',
  'encoder/layer_{i}/ln_conv': 'encoder.conv.LayerNorm',
}
PREFIX = 'deberta'

_POOLED = {'head/dense': 'pooler.dense', 'head/out': 'classifier'}
HEAD_NAMES = bert.HEAD_NAMES | {
  'classification': _POOLED,
  'regression': _POOLED,
  'multiple_choice': _POOLED,
  'replaced_tokens': {
    'head/ln': 'mask_predictions.LayerNorm',
    'head/dense': 'mask_predictions.dense',
    'head/out': 'mask_predictions.classifier',
  },
}
HEAD_NAMES.pop('sentence_structure')

TIED = {
  'cls.predictions.decoder.weight': 'deberta.embeddings.word_embeddings.weight',
  'cls.predictions.decoder.bias': 'cls.predictions.bias',
}
# Heads of pre-training that released files hold.
OTHER_HEADS = (
  'lm_predictions.lm_head',
  'lm_predictions.lm_head.dense',
  'lm_predictions.lm_head.LayerNorm',
)

ARCHITECTURES = {
  kind: name.replace('Bert', 'DebertaV2')
  for kind, name in bert.ARCHITECTURES.items()
  if kind in HEADS
} | {'replaced_tokens': 'DebertaV2Model'}  # which has no class for that head

MODEL_TYPE = 'deberta-v2'
FIELDS = bert.FIELDS | {'head_dropout': 'cls_dropout'}
DEFAULTS: dict[str, Any] = bert.DEFAULTS | {
  'cls_dropout': None,
  'type_vocab_size': 0,
  'layer_norm_eps': 1e-7,
}
_ONLY = {
  'conv_groups': 1,
  'legacy': True,
  'pooler_dropout': 0,
  'pooler_hidden_act': 'gelu',
}


def config_from_hf(config: Mapping[str, Any]) -> EncoderConfig:
  """Returns our config for a Hugging Face config.json.

  Raises:
    ValueError: a key is missing, or asks for what this encoder can't do.
  """
  fields = library.fields_from_hf(config, FIELDS, DEFAULTS, 'hidden_act')
  width, heads_ = fields['hidden_size'], fields['num_heads']
  library.refuse(
    config,
    _ONLY
    | {'pooler_hidden_size': width, 'attention_head_size': width // heads_},
  )
  fields |= dict(
    embeddings='deberta',
    position_table=config.get('position_biased_input', True),
    embedding_size=config.get('embedding_size'),
  )
  options: dict[str, Any] = {}
  if config.get('relative_attention'):
    buckets = max(config.get('position_buckets', -1), 0)
    span = config.get('max_relative_positions', -1)
    span = span if span >= 1 else fields['max_positions']
    options = _options(
      buckets,
      span,
      _terms(config.get('pos_att_type') or ()),
      config.get('share_att_key', False),
      'layer_norm' in config.get('norm_rel_ebd', 'none'),
    )
    fields |= dict(mixer='disentangled', positions='relative_table')
  if config.get('conv_kernel_size', 0) > 0:
    act = config.get('conv_act', 'tanh')
    options['convolved'] = {
      'kernel_size': config['conv_kernel_size'],
      'activation': library.activation_from_hf(act, 'conv_act'),
    }
    fields['per_layer'] = _first(fields['num_layers'])
  return EncoderConfig(**fields, options=freeze(options))


def _terms(given: Any) -> tuple[str, ...]:
  """'p2c|c2p' or a list of the two, in a fixed order.

  Raises:
    ValueError: another term.
  """
  names = given.lower().split('|') if isinstance(given, str) else given
  names = [name.strip() for name in names]
  unknown = sorted(set(names) - {'c2p', 'p2c'})
  if unknown:
    raise ValueError(
      f'config.json: pos_att_type has {unknown}; there are c2p and p2c'
    )
  return tuple(sorted(set(names)))


def config_to_hf(config: EncoderConfig) -> dict[str, Any]:
  """Returns the model part of a Hugging Face config.json."""
  c = config
  values = {'model_type': MODEL_TYPE} | bert.fields_to_hf(c, FIELDS)
  values['position_biased_input'] = c.position_table
  if c.embedding_size:
    values['embedding_size'] = c.embedding_size
  options = {name: dict(pairs) for name, pairs in c.options}
  values['relative_attention'] = bool(c.positions)
  if c.positions:
    attention = options['disentangled']
    values |= {
      'position_buckets': attention['buckets'] or -1,
      'max_relative_positions': attention['span'],
      'pos_att_type': list(attention['terms']),
      'share_att_key': attention['share_key'],
      'norm_rel_ebd': (
        'layer_norm' if options['relative_table']['norm'] else 'none'
      ),
    }
  if 'convolved' in options:
    act = options['convolved']['activation']
    values |= {
      'conv_kernel_size': options['convolved']['kernel_size'],
      'conv_act': library.activation_to_hf(act),
    }
  return values
