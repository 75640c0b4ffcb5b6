"""FNet (Lee-Thorp et al. 2022, arXiv 2105.03824).

BERT with a Fourier transform in place of attention, a dense layer after the
embeddings' LayerNorm, and the tanh GELU (a property of the official code).

Use it: for fast passes: mixing tokens has no parameters.
Costs: accuracy, as published, for a Fourier transform in place of attention.
Not with: batches of several lengths: it has no mask, so padding is mixed in.
  Nor with methods that aim at queries, keys or values.
"""

from collections.abc import Mapping
from typing import Any

from glue_jax.layers.spec import EncoderConfig
from glue_jax.models import bert

_SHARED: dict[str, Any] = dict(
  vocab_size=32000,
  type_vocab_size=4,
  pad_id=3,
  activation='gelu_tanh',
  mixer='fourier',
  projection=True,
)

PRESETS: dict[str, EncoderConfig] = {
  'tiny': EncoderConfig(**bert.sized(2, 64, 2), **_SHARED),
  'base': EncoderConfig(**bert.sized(12, 768, 12), **_SHARED),
  'large': EncoderConfig(**bert.sized(24, 1024, 16), **_SHARED),
}

HEADS = bert.HEADS

NAMES = {
  ours: theirs
  for ours, theirs in bert.NAMES.items()
  if '/mixer/' not in ours and not ours.endswith('ln_attn')
} | {
  'encoder/embeddings/projection': 'embeddings.projection',
  'encoder/layer_{i}/ln_attn': 'encoder.layer.{i}.fourier.output.LayerNorm',
}
PREFIX = 'fnet'
HEAD_NAMES = bert.HEAD_NAMES

TIED = {
  'cls.predictions.decoder.weight': 'fnet.embeddings.word_embeddings.weight',
  'cls.predictions.decoder.bias': 'cls.predictions.bias',
}

# Pre-training heads that files may hold beside those of a kind of ours.
OTHER_HEADS = bert.OTHER_HEADS

ARCHITECTURES = {
  kind: name.replace('Bert', 'FNet')
  for kind, name in bert.ARCHITECTURES.items()
}

MODEL_TYPE = 'fnet'
# No attention: nothing to say of heads and of dropout on probabilities.
FIELDS = {
  ours: theirs
  for ours, theirs in bert.FIELDS.items()
  if ours not in ('num_heads', 'attention_dropout', 'head_dropout')
}
DEFAULTS = bert.DEFAULTS | {
  'hidden_act': 'gelu_new',
  'pad_token_id': 3,
  'type_vocab_size': 4,
}


def config_from_hf(config: Mapping[str, Any]) -> EncoderConfig:
  """Returns our config for a Hugging Face config.json; see bert."""
  fields = bert.fields_from_hf(config, FIELDS, DEFAULTS)
  return EncoderConfig(**fields, mixer='fourier', projection=True, num_heads=1)


def config_to_hf(config: EncoderConfig) -> dict[str, Any]:
  """Returns the model part of a Hugging Face config.json."""
  return {'model_type': MODEL_TYPE} | bert.fields_to_hf(config, FIELDS)
