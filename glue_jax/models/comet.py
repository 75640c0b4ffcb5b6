"""BERT with sparse experts: COMET-BERT (arXiv 2306.02824) and MoEBERT.

Everything but the feed-forward part is BERT's (layers/ffn/experts.py). Folders
are of a form of our own, which this codebase reads back: experts are stacked
tensors, stored with all axes reversed as every kernel is, under names in BERT's
manner; config.json holds the experts' options as `expert_options`.

Use it: for more parameters at the same work a token; the gates are in
  layers/gates/.
Costs: every expert's parameters and their optimizer state; how much time is
  saved depends on `dispatch`.
Not with: methods that aim at the dense feed-forward part or at `ln_ffn`;
  transformers doesn't read its folders.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from glue_jax.layers.spec import EncoderConfig, freeze
from glue_jax.models import bert

PRESETS: dict[str, EncoderConfig] = {
  name: dataclasses.replace(preset, ffn='experts')
  for name, preset in bert.PRESETS.items()
}

HEADS = bert.HEADS

_FFN = 'encoder/layer_{i}/ffn/'
_OUT = 'encoder.layer.{i}.experts.'
NAMES = {
  ours: theirs
  for ours, theirs in bert.NAMES.items()
  if not ours.startswith(_FFN)
} | {
  _FFN + 'experts_in': _OUT + 'fc1',
  _FFN + 'experts_out': _OUT + 'fc2',
  _FFN + 'ln_experts': _OUT + 'LayerNorm',
  **{
    f'{_FFN}gate/{name}': f'{_OUT}gate.{name}'
    for name in ('split', 'leaf', 'logits', 'noise', 'code', 'selector')
  },
}
PREFIX = 'comet'
HEAD_NAMES = bert.HEAD_NAMES

TIED = {
  'cls.predictions.decoder.weight': 'comet.embeddings.word_embeddings.weight',
  'cls.predictions.decoder.bias': 'cls.predictions.bias',
}

# Pre-training heads that files may hold beside those of a kind of ours.
OTHER_HEADS = bert.OTHER_HEADS

ARCHITECTURES = {
  kind: name.replace('Bert', 'Comet')
  for kind, name in bert.ARCHITECTURES.items()
}

MODEL_TYPE = 'comet'
_OPTIONS = 'expert_options'


def config_from_hf(config: Mapping[str, Any]) -> EncoderConfig:
  """Returns our config for a config.json; see bert.

  Raises:
    ValueError: it has no `expert_options`.
  """
  if _OPTIONS not in config:
    raise ValueError(f'config.json lacks {_OPTIONS!r}, the experts of a layer')
  options = (('experts', freeze(config[_OPTIONS])),)
  fields = bert.fields_from_hf(config, bert.FIELDS, bert.DEFAULTS)
  return EncoderConfig(**fields, ffn='experts', options=options)


def config_to_hf(config: EncoderConfig) -> dict[str, Any]:
  """Returns the model part of a config.json."""
  options = dict(dict(config.options).get('experts', ()))
  if 'gate_options' in options:
    options['gate_options'] = dict(options['gate_options'])
  record = bert.fields_to_hf(config, bert.FIELDS)
  return {'model_type': MODEL_TYPE, _OPTIONS: options} | record
