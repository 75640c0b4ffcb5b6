"""ELECTRA (Clark et al. 2020, arXiv 2003.10555), discriminator and generator.

BERT's encoder without a pooler; the small size has narrower tables and a
projection to the width. Classification goes through a dense layer with the
exact GELU on [CLS].

Use it: to tune the published weights, which are strong for their size.
Costs: as BERT.
Not with: pairs of texts in pre-training: the head for them reads a pooler.

Pre-training is objectives/rtd.py: the head 'replaced_tokens' is the
discriminator's, 'mlm' the generator's.
"""

from collections.abc import Mapping
from typing import Any

from glue_jax.layers import heads
from glue_jax.layers.heads import HeadSpec
from glue_jax.layers.spec import EncoderConfig
from glue_jax.models import bert

PRESETS: dict[str, EncoderConfig] = {
  'tiny': EncoderConfig(**bert.sized(2, 64, 2, embedding_size=32)),
  'small': EncoderConfig(**bert.sized(12, 256, 4, embedding_size=128)),
  'base': EncoderConfig(**bert.sized(12, 768, 12)),
  'large': EncoderConfig(**bert.sized(24, 1024, 16)),
}

_GELU = ('hidden', 'gelu')
HEADS = {
  'encoder': HeadSpec(None),
  'classification': HeadSpec(heads.Sentence, options=(_GELU,)),
  'regression': HeadSpec(heads.Sentence, options=(_GELU, ('squeeze', True))),
  'multiple_choice': HeadSpec(
    heads.Sentence,
    options=(_GELU, ('squeeze', True), ('first_dropout', False)),
  ),
  'token_classification': HeadSpec(heads.Token),
  'span': HeadSpec(heads.Span),
  'mlm': HeadSpec(heads.MaskedLM, options=(('activation', 'gelu'),)),
  'replaced_tokens': HeadSpec(heads.ReplacedTokens),
}

NAMES = {
  ours: theirs
  for ours, theirs in bert.NAMES.items()
  if not ours.startswith('pooler')
} | {'encoder/embeddings/projection': 'embeddings_project'}
PREFIX = 'electra'

_DENSE_HEAD = {
  'head/dense': 'classifier.dense',
  'head/out': 'classifier.out_proj',
}
HEAD_NAMES = bert.with_structure(
  bert.HEAD_NAMES
  | {
    'classification': _DENSE_HEAD,
    'regression': _DENSE_HEAD,
    'multiple_choice': {
      'head/dense': 'sequence_summary.summary',
      'head/out': 'classifier',
    },
    'mlm': {
      'head/dense': 'generator_predictions.dense',
      'head/ln': 'generator_predictions.LayerNorm',
      'head': 'generator_lm_head',
    },
    'replaced_tokens': {
      'head/dense': 'discriminator_predictions.dense',
      'head/out': 'discriminator_predictions.dense_prediction',
    },
  }
)

TIED = {
  'generator_lm_head.weight': 'electra.embeddings.word_embeddings.weight',
}

# Pre-training heads that files may hold beside those of a kind of ours.
OTHER_HEADS = (
  'discriminator_predictions.dense',
  'discriminator_predictions.dense_prediction',
)

ARCHITECTURES = {
  kind: name.replace('Bert', 'Electra')
  for kind, name in bert.ARCHITECTURES.items()
} | {'replaced_tokens': 'ElectraForPreTraining'}

MODEL_TYPE = 'electra'
FIELDS = bert.FIELDS | {'embedding_size': 'embedding_size'}
DEFAULTS = bert.DEFAULTS | {'embedding_size': 128}


def config_from_hf(config: Mapping[str, Any]) -> EncoderConfig:
  """Returns our config for a Hugging Face config.json; see bert."""
  return EncoderConfig(**bert.fields_from_hf(config, FIELDS, DEFAULTS))


def config_to_hf(config: EncoderConfig) -> dict[str, Any]:
  """Returns the model part of a Hugging Face config.json."""
  fields = bert.fields_to_hf(config, FIELDS)
  # The summary keys are what multiple choice reads.
  return fields | {
    'model_type': MODEL_TYPE,
    'embedding_size': config.embedding_size or config.hidden_size,
    'summary_type': 'first',
    'summary_use_proj': True,
    'summary_activation': 'gelu',
    'summary_last_dropout': config.dropout,
  }
