"""Hydra (Hwang et al. 2024, arXiv 2407.09941): BERT without attention or FFN.

N blocks x = LN(x + mixer(x)), no positions, BERT's embeddings, pooler and
heads. Folders hold the official code's names; its release has no config.json,
so the keys of ours are the names of its arguments.

Use it: for long texts, or without a bound on the length: it has no positions.
Costs: time and memory linear in the length; a block has no feed-forward part,
  so there are more blocks (23 for BERT-base's 12).
Not with: methods that aim at attention, at `ffn` or at `ln_ffn`.
"""

from collections.abc import Mapping
from typing import Any

from glue_jax.layers.spec import EncoderConfig, freeze
from glue_jax.models import bert

_SHARED: dict[str, Any] = dict(
  mixer='hydra',
  ffn='',
  max_positions=0,
  block_norm_eps=1e-5,
  num_heads=1,
  attention_dropout=0.0,
)

PRESETS: dict[str, EncoderConfig] = {
  'tiny': EncoderConfig(
    num_layers=2,
    hidden_size=64,
    options=freeze({'hydra': {'state_size': 16, 'head_dim': 32}}),
    **_SHARED,
  ),
  'mini': EncoderConfig(
    num_layers=8,
    hidden_size=256,
    options=freeze({'hydra': {'state_size': 32}}),
    **_SHARED,
  ),
  # The published model: 112 M parameters, as many as BERT-base.
  'base': EncoderConfig(
    vocab_size=30528, num_layers=23, hidden_size=768, **_SHARED
  ),
}

HEADS = bert.HEADS

_LAYER = 'encoder.layer.{i}.layer.'
NAMES = (
  {
    ours: theirs
    for ours, theirs in bert.NAMES.items()
    if 'layer_{i}' not in ours and not ours.endswith('/position')
  }
  | {
    f'encoder/layer_{{i}}/mixer/{name}': f'{_LAYER}mixer.{name}'
    for name in ('in_proj', 'conv1d', 'fc_D', 'norm', 'out_proj')
    + ('dt_bias', 'A_log', 'D', 'init_states')
  }
  | {'encoder/layer_{i}/ln_attn': _LAYER + 'norm'}
)
PREFIX = 'bert'
HEAD_NAMES = bert.with_structure(
  bert.HEAD_NAMES
  | {'mlm': bert.HEAD_NAMES['mlm'] | {'head': 'cls.predictions.decoder'}}
)

TIED = {
  'cls.predictions.decoder.weight': 'bert.embeddings.word_embeddings.weight'
}

# Pre-training heads that files may hold beside those of a kind of ours.
OTHER_HEADS = bert.OTHER_HEADS

ARCHITECTURES = {
  kind: name.replace('Bert', 'Hydra')
  for kind, name in bert.ARCHITECTURES.items()
}

MODEL_TYPE = 'hydra'
FIELDS = {
  ours: theirs
  for ours, theirs in bert.FIELDS.items()
  if ours
  not in ('num_heads', 'intermediate_size', 'max_positions')
  + ('attention_dropout',)
} | {'block_norm_eps': 'layer_norm_eps_layer'}
DEFAULTS = {
  key: value
  for key, value in bert.DEFAULTS.items()
  if key not in ('attention_probs_dropout_prob', 'max_position_embeddings')
} | {'layer_norm_eps_layer': 1e-5}

# Attributes of the block -> keys of config.json.
OPTIONS = {
  'state_size': 'd_state',
  'kernel_size': 'd_conv',
  'expand': 'expand',
  'head_dim': 'headdim',
  'groups': 'ngroups',
  'bias': 'bias',
  'learn_initial_state': 'learnable_init_states',
  'dt_limit': 'dt_limit',
  'pad_mode': 'pad_mode',
}


def config_from_hf(config: Mapping[str, Any]) -> EncoderConfig:
  """Returns our config for a config.json; see bert.

  Raises:
    ValueError: a key is missing, or asks for what this encoder can't do.
  """
  fields = bert.fields_from_hf(config, FIELDS, DEFAULTS)
  options = {
    ours: config[theirs] for ours, theirs in OPTIONS.items() if theirs in config
  }
  return EncoderConfig(
    **_SHARED | fields, options=freeze({'hydra': options} if options else {})
  )


def config_to_hf(config: EncoderConfig) -> dict[str, Any]:
  """Returns the model part of a config.json, of the block's options too."""
  given = dict(dict(config.options).get('hydra', ()))
  record = {'model_type': MODEL_TYPE} | bert.fields_to_hf(config, FIELDS)
  return record | {
    theirs: given[ours] for ours, theirs in OPTIONS.items() if ours in given
  }
