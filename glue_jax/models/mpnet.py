"""MPNet (Song et al. 2020, arXiv 2004.09297).

BERT's encoder with RoBERTa's positions and head, T5's buckets of relative
positions in all layers, and no token types.

Use it: for sentence encoders: `all-mpnet-base-v2` is one.
Costs: as BERT.
Not with: pre-training as published: its permuted objective isn't here.
"""

from collections.abc import Mapping
from typing import Any

from glue_jax.layers.heads import HeadSpec
from glue_jax.layers.spec import EncoderConfig
from glue_jax.models import bert, library, roberta

_SHARED: dict[str, Any] = dict(
  vocab_size=30_527,
  max_positions=514,
  type_vocab_size=0,
  pad_id=1,
  position_offset=2,
  positions='relative_buckets',
  layer_norm_eps=1e-5,
)

PRESETS: dict[str, EncoderConfig] = {
  'tiny': EncoderConfig(**bert.sized(2, 64, 2), **_SHARED),
  'base': EncoderConfig(**bert.sized(12, 768, 12), **_SHARED),
}

HEADS: dict[str, HeadSpec] = {
  kind: head
  for kind, head in roberta.HEADS.items()
  if kind != 'sentence_structure'
}

_LAYER = 'encoder.layer.{i}.attention.'
NAMES = {
  ours: theirs
  for ours, theirs in bert.NAMES.items()
  if not ours.endswith('token_type')
} | {
  'encoder/positions': 'encoder.relative_attention_bias',
  'encoder/layer_{i}/mixer/query': _LAYER + 'attn.q',
  'encoder/layer_{i}/mixer/key': _LAYER + 'attn.k',
  'encoder/layer_{i}/mixer/value': _LAYER + 'attn.v',
  'encoder/layer_{i}/mixer/attn_out': _LAYER + 'attn.o',
  'encoder/layer_{i}/ln_attn': _LAYER + 'LayerNorm',
}
PREFIX = 'mpnet'

HEAD_NAMES = {
  kind: names
  for kind, names in roberta.HEAD_NAMES.items()
  if kind != 'sentence_structure'
}
TIED = {
  'lm_head.decoder.weight': 'mpnet.embeddings.word_embeddings.weight',
  'lm_head.decoder.bias': 'lm_head.bias',
}
OTHER_HEADS = ()

ARCHITECTURES = {
  kind: name.replace('Bert', 'MPNet')
  for kind, name in bert.ARCHITECTURES.items()
  if kind in HEADS
}

MODEL_TYPE = 'mpnet'
FIELDS = {
  ours: theirs
  for ours, theirs in bert.FIELDS.items()
  if ours not in ('type_vocab_size', 'head_dropout')
}
DEFAULTS: dict[str, Any] = bert.DEFAULTS | {'pad_token_id': 1}
# The library's code has these numbers, whatever a file says.
_ONLY = {'pad_token_id': 1, 'relative_attention_num_buckets': 32}


def config_from_hf(config: Mapping[str, Any]) -> EncoderConfig:
  """Returns our config for a Hugging Face config.json; see bert.

  Raises:
    ValueError: a key is missing, or asks for what this encoder can't do.
  """
  library.refuse(config, _ONLY)
  fields = bert.fields_from_hf(config, FIELDS, DEFAULTS)
  return EncoderConfig(
    **fields,
    type_vocab_size=0,
    position_offset=2,
    positions='relative_buckets',
  )


def config_to_hf(config: EncoderConfig) -> dict[str, Any]:
  """Returns the model part of a Hugging Face config.json."""
  values = bert.fields_to_hf(config, FIELDS)
  return {'model_type': MODEL_TYPE} | _ONLY | values
