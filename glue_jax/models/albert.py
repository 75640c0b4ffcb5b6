"""ALBERT (Lan et al. 2020, arXiv 1909.11942).

BERT's encoder whose layers are one and the same, and whose narrow tables are
projected to the width. Plugs and masks of a layer therefore act in every one.

Use it: for BERT's depth with an eleventh of its parameters.
Costs: time as BERT of the same width: sharing saves memory alone.
Not with: methods that treat layers apart: there is one.
"""

from collections.abc import Mapping
from typing import Any

from glue_jax.layers.spec import EncoderConfig
from glue_jax.models import bert, library

_SHARED: dict[str, Any] = dict(
  shared_layers=True,
  embedding_size=128,
  vocab_size=30_000,
  activation='gelu_tanh',
  dropout=0.0,
  attention_dropout=0.0,
  head_dropout=0.1,
)

PRESETS: dict[str, EncoderConfig] = {
  'tiny': EncoderConfig(
    **bert.sized(2, 64, 2) | _SHARED | dict(embedding_size=16)
  ),
  'base': EncoderConfig(**bert.sized(12, 768, 12), **_SHARED),
  'large': EncoderConfig(**bert.sized(24, 1024, 16), **_SHARED),
  'xlarge': EncoderConfig(**bert.sized(24, 2048, 16), **_SHARED),
  'xxlarge': EncoderConfig(**bert.sized(12, 4096, 64), **_SHARED),
}

HEADS = bert.HEADS

_LAYER = 'encoder.albert_layer_groups.0.albert_layers.0.'
NAMES = {
  'encoder/embeddings/word': 'embeddings.word_embeddings',
  'encoder/embeddings/position': 'embeddings.position_embeddings',
  'encoder/embeddings/token_type': 'embeddings.token_type_embeddings',
  'encoder/embeddings/ln': 'embeddings.LayerNorm',
  'encoder/embeddings/projection': 'encoder.embedding_hidden_mapping_in',
  'encoder/layer_{i}/mixer/query': _LAYER + 'attention.query',
  'encoder/layer_{i}/mixer/key': _LAYER + 'attention.key',
  'encoder/layer_{i}/mixer/value': _LAYER + 'attention.value',
  'encoder/layer_{i}/mixer/attn_out': _LAYER + 'attention.dense',
  'encoder/layer_{i}/ln_attn': _LAYER + 'attention.LayerNorm',
  'encoder/layer_{i}/ffn/ffn_in': _LAYER + 'ffn',
  'encoder/layer_{i}/ffn/ffn_out': _LAYER + 'ffn_output',
  'encoder/layer_{i}/ln_ffn': _LAYER + 'full_layer_layer_norm',
  'pooler/dense': 'pooler',
}
PREFIX = 'albert'

_WORDS = {
  'head/dense': 'predictions.dense',
  'head/ln': 'predictions.LayerNorm',
  'head': 'predictions',
}
HEAD_NAMES = bert.HEAD_NAMES | {
  'mlm': _WORDS,
  'sentence_structure': (
    _WORDS | {'head/structure': 'sop_classifier.classifier'}
  ),
}
TIED = {
  'predictions.decoder.weight': 'albert.embeddings.word_embeddings.weight',
  'predictions.decoder.bias': 'predictions.bias',
}
OTHER_HEADS = ('sop_classifier.classifier',)

ARCHITECTURES = {
  kind: name.replace('Bert', 'Albert')
  for kind, name in bert.ARCHITECTURES.items()
}

MODEL_TYPE = 'albert'
FIELDS = bert.FIELDS | {
  'embedding_size': 'embedding_size',
  'head_dropout': 'classifier_dropout_prob',
}
DEFAULTS: dict[str, Any] = bert.DEFAULTS | {
  'hidden_act': 'gelu_new',
  'embedding_size': 128,
  'hidden_dropout_prob': 0.0,
  'attention_probs_dropout_prob': 0.0,
  'classifier_dropout_prob': 0.1,
}
_ONLY = {'num_hidden_groups': 1, 'inner_group_num': 1}


def config_from_hf(config: Mapping[str, Any]) -> EncoderConfig:
  """Returns our config for a Hugging Face config.json; see bert.

  Raises:
    ValueError: a key is missing, or asks for what this encoder can't do.
  """
  library.refuse(config, _ONLY)
  fields = bert.fields_from_hf(config, FIELDS, DEFAULTS)
  if fields['embedding_size'] == fields['hidden_size']:
    raise ValueError(
      'config.json: embedding_size equals hidden_size; expected narrower '
      "tables, as all of ALBERT's sizes have"
    )
  return EncoderConfig(**fields, shared_layers=True)


def config_to_hf(config: EncoderConfig) -> dict[str, Any]:
  """Returns the model part of a Hugging Face config.json."""
  values = bert.fields_to_hf(config, FIELDS)
  return {'model_type': MODEL_TYPE} | _ONLY | values
