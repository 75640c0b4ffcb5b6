"""ModernBERT (Warner et al. 2024, arXiv 2412.13663).

An encoder of norms before the sublayers, without biases, with rotary positions
and GeGLU; every third layer attends to the whole row, the others to tokens at
most `local_attention / 2` away, with a rotary base of their own. The library's
tensors of query, key and value, and of the two halves of the feed-forward
part, are several here.

Use it: for long rows (8,192 tokens) and recent pre-training.
Costs: the windows save no time here: they are masks over whole rows.
Not with: token types: the texts of a pair are told apart by separators alone.
  Weights with biases, or with stretched rotary positions.
"""

from collections.abc import Mapping
from typing import Any

from glue_jax.layers import heads
from glue_jax.layers.heads import HeadSpec
from glue_jax.layers.spec import EncoderConfig
from glue_jax.models import bert, library

_SHARED: dict[str, Any] = dict(
  block='pre',
  norm='scale_only',
  embeddings='normed',
  positions='rotary',
  pooler='first_token',
  ffn='gated',
  position_table=False,
  type_vocab_size=0,
  final_norm=True,
  use_bias=False,
)
_THETA = {'full_attention': 160_000.0, 'sliding_attention': 10_000.0}


def _layers(
  kinds: list[str], window: int, thetas: Mapping[str, float]
) -> tuple:
  """Fields that differ by layer."""
  slides = [kind == 'sliding_attention' for kind in kinds]
  return (
    ('window', tuple(window if yes else None for yes in slides)),
    ('rotary_theta', tuple(thetas[kind] for kind in kinds)),
    ('mixer_norm', (False, *([True] * (len(kinds) - 1)))),
  )


def _kinds(layers: int, every: int = 3) -> list[str]:
  return [
    'sliding_attention' if i % every else 'full_attention'
    for i in range(layers)
  ]


def _sized(layers: int, width: int, num_heads: int, intermediate_size: int):
  return EncoderConfig(
    **_SHARED,
    vocab_size=50_368,
    num_layers=layers,
    hidden_size=width,
    num_heads=num_heads,
    intermediate_size=intermediate_size,
    max_positions=8192,
    pad_id=50_283,
    layer_norm_eps=1e-5,
    dropout=0.0,
    attention_dropout=0.0,
    head_dropout=0.0,
    per_layer=_layers(_kinds(layers), 64, _THETA),
  )


PRESETS: dict[str, EncoderConfig] = {
  'tiny': _sized(3, 64, 2, 96),
  'base': _sized(22, 768, 12, 1152),
  'large': _sized(28, 1024, 16, 2624),
}

_NORMED = (('hidden', 'gelu'), ('first_dropout', False), ('norm', True))
HEADS = {
  'encoder': HeadSpec(None),
  'classification': HeadSpec(heads.Sentence, True, _NORMED),
  'regression': HeadSpec(heads.Sentence, True, (*_NORMED, ('squeeze', True))),
  'multiple_choice': HeadSpec(
    heads.Sentence, True, (*_NORMED, ('squeeze', True))
  ),
  'token_classification': HeadSpec(heads.Token, options=(('hidden', 'gelu'),)),
  'span': HeadSpec(heads.Span, options=(('hidden', 'gelu'),)),
  'mlm': HeadSpec(heads.MaskedLM, options=(('activation', 'gelu'),)),
}

NAMES = {
  'encoder/embeddings/word': 'embeddings.tok_embeddings',
  'encoder/embeddings/ln': 'embeddings.norm',
  'encoder/layer_{i}/ln_attn': 'layers.{i}.attn_norm',
  'encoder/layer_{i}/mixer/query': 'layers.{i}.attn.Wqkv[0/3]',
  'encoder/layer_{i}/mixer/key': 'layers.{i}.attn.Wqkv[1/3]',
  'encoder/layer_{i}/mixer/value': 'layers.{i}.attn.Wqkv[2/3]',
  'encoder/layer_{i}/mixer/attn_out': 'layers.{i}.attn.Wo',
  'encoder/layer_{i}/ln_ffn': 'layers.{i}.mlp_norm',
  'encoder/layer_{i}/ffn/ffn_gate': 'layers.{i}.mlp.Wi[0/2]',
  'encoder/layer_{i}/ffn/ffn_in': 'layers.{i}.mlp.Wi[1/2]',
  'encoder/layer_{i}/ffn/ffn_out': 'layers.{i}.mlp.Wo',
  'encoder/final_norm': 'final_norm',
}
PREFIX = 'model'

_HEAD = {
  'head/dense': 'head.dense',
  'head/ln': 'head.norm',
  'head/out': 'classifier',
}
HEAD_NAMES = {kind: _HEAD for kind in HEADS if kind != 'encoder'} | {
  'mlm': {'head/dense': 'head.dense', 'head/ln': 'head.norm', 'head': 'decoder'}
}
TIED = {'decoder.weight': 'model.embeddings.tok_embeddings.weight'}
OTHER_HEADS = ()

ARCHITECTURES = {
  kind: name.replace('Bert', 'ModernBert')
  for kind, name in bert.ARCHITECTURES.items()
  if kind in HEADS
}

MODEL_TYPE = 'modernbert'
FIELDS = {
  'vocab_size': 'vocab_size',
  'hidden_size': 'hidden_size',
  'num_layers': 'num_hidden_layers',
  'num_heads': 'num_attention_heads',
  'intermediate_size': 'intermediate_size',
  'max_positions': 'max_position_embeddings',
  'pad_id': 'pad_token_id',
  'layer_norm_eps': 'norm_eps',
  'dropout': 'mlp_dropout',
  'attention_dropout': 'attention_dropout',
  'head_dropout': 'classifier_dropout',
  'init_range': 'initializer_range',
}
DEFAULTS: dict[str, Any] = {
  'hidden_activation': 'gelu',
  'max_position_embeddings': 8192,
  'pad_token_id': 50_283,
  'norm_eps': 1e-5,
  'mlp_dropout': 0.0,
  'attention_dropout': 0.0,
  'classifier_dropout': 0.0,
  'initializer_range': 0.02,
}
_ONLY = {
  'attention_bias': False,
  'classifier_activation': 'gelu',
  'classifier_bias': False,
  'decoder_bias': True,
  'mlp_bias': False,
  'norm_bias': False,
}
_POOLERS = {'cls': 'first_token', 'mean': 'mean'}


def config_from_hf(config: Mapping[str, Any]) -> EncoderConfig:
  """Returns our config for a Hugging Face config.json.

  Raises:
    ValueError: a key is missing, or asks for what this encoder can't do.
  """
  fields = library.fields_from_hf(config, FIELDS, DEFAULTS, 'hidden_activation')
  library.refuse(config, _ONLY | {'embedding_dropout': fields['dropout']})
  every = config.get('global_attn_every_n_layers', 3)
  kinds = config.get('layer_types') or _kinds(fields['num_layers'], every)
  pooling = config.get('classifier_pooling', 'cls')
  if pooling not in _POOLERS or set(kinds) - set(_THETA):
    raise ValueError(
      f'config.json: classifier_pooling={pooling!r} and layer_types '
      f'{sorted(set(kinds))}; expected one of {sorted(_POOLERS)}, and '
      f'{sorted(_THETA)}'
    )
  window = config.get('local_attention', 128) // 2
  return EncoderConfig(
    **_SHARED
    | fields
    | dict(
      pooler=_POOLERS[pooling],
      per_layer=_layers(kinds, window, _thetas(config)),
    )
  )


def _thetas(config: Mapping[str, Any]) -> dict[str, float]:
  """The rotary base of each kind of layer.

  Raises:
    ValueError: positions are stretched.
  """
  thetas = dict(_THETA)
  for kind, old in (
    ('full_attention', 'global_rope_theta'),
    ('sliding_attention', 'local_rope_theta'),
  ):
    own = (config.get('rope_parameters') or {}).get(kind)
    given = {'rope_parameters': own} if own else {}
    default = {'rope_theta': config.get(old) or thetas[kind]}
    thetas[kind], scaling = library.rotary_from_hf(given, default)
    if scaling:
      raise ValueError(
        f'config.json: rotary positions of {kind} are stretched, {scaling}; '
        "expected rope_type 'default'"
      )
  return thetas


def config_to_hf(config: EncoderConfig) -> dict[str, Any]:
  """Returns the model part of a Hugging Face config.json."""
  c = config
  own = [c.layer(i) for i in range(c.num_layers)]
  kinds = [
    'full_attention' if x.window is None else 'sliding_attention' for x in own
  ]
  thetas = _THETA | {kind: x.rotary_theta for kind, x in zip(kinds, own)}
  windows = [x.window for x in own if x.window is not None]
  values = library.fields_to_hf(c, FIELDS, 'hidden_activation')
  pooling = {ours: theirs for theirs, ours in _POOLERS.items()}
  return {
    'model_type': MODEL_TYPE,
    'tie_word_embeddings': True,
    'embedding_dropout': c.dropout,
    'classifier_pooling': pooling[c.pooler],
    'layer_types': kinds,
    'local_attention': 2 * windows[0] if windows else 128,
    'rope_parameters': {
      kind: {'rope_type': 'default', 'rope_theta': theta}
      for kind, theta in thetas.items()
    },
  } | values
