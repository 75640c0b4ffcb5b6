"""DistilBERT (Sanh et al. 2019, arXiv 1910.01108).

BERT's encoder of half the depth, without token types and pooler; a sentence is
classified through a dense layer with ReLU on [CLS].

Use it: for 97 % of BERT's scores at 60 % of its time, as published.
Costs: as BERT, by layer.
Not with: token types: the texts of a pair are told apart by separators alone.
  The library's dropout before its head for spans isn't here.
"""

from collections.abc import Mapping
from typing import Any

from glue_jax.layers import heads
from glue_jax.layers.heads import HeadSpec
from glue_jax.layers.spec import EncoderConfig
from glue_jax.models import bert, library

_SHARED: dict[str, Any] = dict(type_vocab_size=0, head_dropout=0.2)

PRESETS: dict[str, EncoderConfig] = {
  'tiny': EncoderConfig(**bert.sized(2, 64, 2, **_SHARED)),
  'base': EncoderConfig(**bert.sized(6, 768, 12, **_SHARED)),
}

_RELU = (('hidden', 'relu'), ('first_dropout', False))
HEADS = {
  'encoder': HeadSpec(None),
  'classification': HeadSpec(heads.Sentence, options=_RELU),
  'regression': HeadSpec(heads.Sentence, options=(*_RELU, ('squeeze', True))),
  'multiple_choice': HeadSpec(
    heads.Sentence, options=(*_RELU, ('squeeze', True))
  ),
  'token_classification': HeadSpec(heads.Token),
  'span': HeadSpec(heads.Span),
  'mlm': HeadSpec(heads.MaskedLM),
}

_LAYER = 'transformer.layer.{i}.'
NAMES = {
  'encoder/embeddings/word': 'embeddings.word_embeddings',
  'encoder/embeddings/position': 'embeddings.position_embeddings',
  'encoder/embeddings/ln': 'embeddings.LayerNorm',
  'encoder/layer_{i}/mixer/query': _LAYER + 'attention.q_lin',
  'encoder/layer_{i}/mixer/key': _LAYER + 'attention.k_lin',
  'encoder/layer_{i}/mixer/value': _LAYER + 'attention.v_lin',
  'encoder/layer_{i}/mixer/attn_out': _LAYER + 'attention.out_lin',
  'encoder/layer_{i}/ln_attn': _LAYER + 'sa_layer_norm',
  'encoder/layer_{i}/ffn/ffn_in': _LAYER + 'ffn.lin1',
  'encoder/layer_{i}/ffn/ffn_out': _LAYER + 'ffn.lin2',
  'encoder/layer_{i}/ln_ffn': _LAYER + 'output_layer_norm',
}
PREFIX = 'distilbert'

_DENSE_HEAD = {'head/dense': 'pre_classifier', 'head/out': 'classifier'}
HEAD_NAMES = {
  'classification': _DENSE_HEAD,
  'regression': _DENSE_HEAD,
  'multiple_choice': _DENSE_HEAD,
  'token_classification': {'head/out': 'classifier'},
  'span': {'head/out': 'qa_outputs'},
  'mlm': {
    'head/dense': 'vocab_transform',
    'head/ln': 'vocab_layer_norm',
    'head': 'vocab_projector',
  },
}
TIED = {
  'vocab_projector.weight': 'distilbert.embeddings.word_embeddings.weight'
}
OTHER_HEADS = ()

ARCHITECTURES = {
  kind: name.replace('Bert', 'DistilBert')
  for kind, name in bert.ARCHITECTURES.items()
  if kind in HEADS
}

MODEL_TYPE = 'distilbert'
FIELDS = {
  'vocab_size': 'vocab_size',
  'hidden_size': 'dim',
  'num_layers': 'n_layers',
  'num_heads': 'n_heads',
  'intermediate_size': 'hidden_dim',
  'max_positions': 'max_position_embeddings',
  'pad_id': 'pad_token_id',
  'dropout': 'dropout',
  'attention_dropout': 'attention_dropout',
  'head_dropout': 'seq_classif_dropout',
  'init_range': 'initializer_range',
}
DEFAULTS: dict[str, Any] = {
  'activation': 'gelu',
  'max_position_embeddings': 512,
  'pad_token_id': 0,
  'dropout': 0.1,
  'attention_dropout': 0.1,
  'seq_classif_dropout': 0.2,
  'initializer_range': 0.02,
}


def config_from_hf(config: Mapping[str, Any]) -> EncoderConfig:
  """Returns our config for a Hugging Face config.json.

  The library computes sinusoidal positions once, as a table that is stored, so
  `sinusoidal_pos_embds` asks for nothing here.

  Raises:
    ValueError: a key is missing, or the activation isn't known.
  """
  fields = library.fields_from_hf(config, FIELDS, DEFAULTS, 'activation')
  return EncoderConfig(**fields, type_vocab_size=0)


def config_to_hf(config: EncoderConfig) -> dict[str, Any]:
  """Returns the model part of a Hugging Face config.json."""
  values = library.fields_to_hf(config, FIELDS, 'activation')
  return {'model_type': MODEL_TYPE, 'tie_word_embeddings': True} | values
