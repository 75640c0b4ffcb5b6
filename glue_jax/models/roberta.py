"""RoBERTa (Liu et al. 2019, arXiv 1907.11692).

BERT's encoder with positions that skip padding and start at pad_id + 1, and a
classification head with its own dense layer on `<s>` in place of the pooler.

Use it: for weights of the hub that are stronger than BERT's at the same size.
Costs: as BERT; the larger vocabulary makes a larger word table.
Not with: token types: the texts of a pair are told apart by separators alone.
"""

from collections.abc import Mapping
from typing import Any

from glue_jax.layers import heads
from glue_jax.layers.heads import HeadSpec
from glue_jax.layers.spec import EncoderConfig
from glue_jax.models import bert

_SHARED: dict[str, Any] = dict(
  vocab_size=50265,
  max_positions=514,
  type_vocab_size=1,
  pad_id=1,
  position_offset=2,
  layer_norm_eps=1e-5,
)

PRESETS: dict[str, EncoderConfig] = {
  'tiny': EncoderConfig(**bert.sized(2, 64, 2), **_SHARED),
  'base': EncoderConfig(**bert.sized(12, 768, 12), **_SHARED),
  'large': EncoderConfig(**bert.sized(24, 1024, 16), **_SHARED),
}

HEADS = bert.HEADS | {
  'classification': HeadSpec(heads.Sentence, options=(('hidden', 'tanh'),)),
  'regression': HeadSpec(
    heads.Sentence, options=(('hidden', 'tanh'), ('squeeze', True))
  ),
  # Always the exact GELU, whatever the encoder uses.
  'mlm': HeadSpec(heads.MaskedLM, options=(('activation', 'gelu'),)),
}

NAMES = bert.NAMES
PREFIX = 'roberta'

_DENSE_HEAD = {
  'head/dense': 'classifier.dense',
  'head/out': 'classifier.out_proj',
}
HEAD_NAMES = bert.with_structure(
  bert.HEAD_NAMES
  | {
    'classification': _DENSE_HEAD,
    'regression': _DENSE_HEAD,
    'mlm': {
      'head/dense': 'lm_head.dense',
      'head/ln': 'lm_head.layer_norm',
      'head': 'lm_head',
    },
  }
)

TIED = {
  'lm_head.decoder.weight': 'roberta.embeddings.word_embeddings.weight',
  'lm_head.decoder.bias': 'lm_head.bias',
}

# Pre-training heads that files may hold and no kind of ours uses: none.
OTHER_HEADS = ()

ARCHITECTURES = {
  kind: name.replace('Bert', 'Roberta')
  for kind, name in bert.ARCHITECTURES.items()
}

MODEL_TYPE = 'roberta'
# With pad_token_id, the ids the library's config expects of this family.
_SPECIAL = {'bos_token_id': 0, 'eos_token_id': 2}


def config_from_hf(config: Mapping[str, Any]) -> EncoderConfig:
  """Returns our config for a Hugging Face config.json; see bert."""
  defaults = bert.DEFAULTS | {'pad_token_id': 1}
  fields = bert.fields_from_hf(config, bert.FIELDS, defaults)
  return EncoderConfig(**fields, position_offset=fields['pad_id'] + 1)


def config_to_hf(config: EncoderConfig) -> dict[str, Any]:
  """Returns the model part of a Hugging Face config.json.

  Raises:
    ValueError: the positions aren't RoBERTa's.
  """
  if config.position_offset != config.pad_id + 1:
    raise ValueError(
      f'position_offset={config.position_offset}, but RoBERTa needs '
      f'pad_id + 1 = {config.pad_id + 1}; export as another family'
    )
  fields = bert.fields_to_hf(config, bert.FIELDS)
  return {'model_type': MODEL_TYPE} | _SPECIAL | fields
