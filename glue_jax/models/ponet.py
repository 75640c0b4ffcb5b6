"""PoNet (Tan et al. 2022, arXiv 2110.02442): BERT with three poolings.

Everything but the mixer is BERT's. Folders hold the official code's names
(`attention.self.dense_{q,k,o,segment,local}`), in the form of its release in
modelscope; no release of it was at hand to read.

Use it: for long texts.
Costs: time and memory linear in the length; four projections of all tokens
  where attention has three.
Not with: methods that aim at attention's values or scores.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from glue_jax.layers.spec import EncoderConfig
from glue_jax.models import bert

PRESETS: dict[str, EncoderConfig] = {
  name: dataclasses.replace(preset, mixer='ponet')
  for name, preset in bert.PRESETS.items()
}

HEADS = bert.HEADS

_MIXER = 'encoder/layer_{i}/mixer/'
_SELF = 'encoder.layer.{i}.attention.self.dense_'
NAMES = {
  ours: theirs
  for ours, theirs in bert.NAMES.items()
  if not ours.startswith(_MIXER) or ours.endswith('attn_out')
} | {
  _MIXER + 'query': _SELF + 'q',
  _MIXER + 'key': _SELF + 'k',
  _MIXER + 'gate': _SELF + 'o',
  _MIXER + 'segment': _SELF + 'segment',
  _MIXER + 'local': _SELF + 'local',
}
PREFIX = 'ponet'
HEAD_NAMES = bert.HEAD_NAMES

TIED = {
  'cls.predictions.decoder.weight': 'ponet.embeddings.word_embeddings.weight',
  'cls.predictions.decoder.bias': 'cls.predictions.bias',
}

# Pre-training heads that files may hold beside those of a kind of ours.
OTHER_HEADS = bert.OTHER_HEADS

ARCHITECTURES = {
  kind: name.replace('Bert', 'PoNet')
  for kind, name in bert.ARCHITECTURES.items()
}

MODEL_TYPE = 'ponet'
FIELDS = bert.FIELDS | {'special_ids': 'special_token_ids'}
DEFAULTS = bert.DEFAULTS | {'special_token_ids': [101, 102]}


def config_from_hf(config: Mapping[str, Any]) -> EncoderConfig:
  """Returns our config for a Hugging Face config.json; see bert."""
  fields = bert.fields_from_hf(config, FIELDS, DEFAULTS)
  fields['special_ids'] = tuple(fields['special_ids'])
  return EncoderConfig(**fields, mixer='ponet')


def config_to_hf(config: EncoderConfig) -> dict[str, Any]:
  """Returns the model part of a Hugging Face config.json."""
  record = bert.fields_to_hf(config, FIELDS)
  record['special_token_ids'] = list(config.special_ids)
  return {'model_type': MODEL_TYPE} | record
