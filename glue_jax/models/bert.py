"""BERT (Devlin et al. 2019, arXiv 1810.04805), also MiniLM's students.

Differs from the original code in the initialiser only: plain normal, not
truncated at two standard deviations, as in the PyTorch port. The other families
are written as their differences from this one.

Use it: first; what the published methods are measured on, and has every head.
Costs: attention's scores grow with the square of the length.
Not with: rows longer than `max_positions`, 512 as published.
"""

from collections.abc import Mapping
from typing import Any

from glue_jax.layers import heads
from glue_jax.layers.heads import HeadSpec
from glue_jax.layers.spec import EncoderConfig
from glue_jax.models import library


def sized(layers: int, width: int, num_heads: int, **kwargs: Any) -> dict:
  """Returns the sizes of an encoder whose FFN is four times its width."""
  return dict(
    num_layers=layers,
    hidden_size=width,
    num_heads=num_heads,
    intermediate_size=4 * width,
    **kwargs,
  )


PRESETS: dict[str, EncoderConfig] = {
  'tiny': EncoderConfig(**sized(2, 64, 2)),
  'mini': EncoderConfig(**sized(4, 256, 4)),
  'small': EncoderConfig(**sized(4, 512, 8)),
  'minilm_l6': EncoderConfig(**sized(6, 384, 12)),
  'minilm_l12': EncoderConfig(**sized(12, 384, 12)),
  'base': EncoderConfig(**sized(12, 768, 12)),
  'large': EncoderConfig(**sized(24, 1024, 16)),
}

HEADS = {
  'encoder': HeadSpec(None, pooled=True),
  'classification': HeadSpec(heads.Sentence, pooled=True),
  'regression': HeadSpec(
    heads.Sentence, pooled=True, options=(('squeeze', True),)
  ),
  'multiple_choice': HeadSpec(
    heads.Sentence, pooled=True, options=(('squeeze', True),)
  ),
  'token_classification': HeadSpec(heads.Token),
  'span': HeadSpec(heads.Span),
  'mlm': HeadSpec(heads.MaskedLM),
  'sentence_structure': HeadSpec(heads.SentenceStructure, pooled=True),
}

# Our module -> Hugging Face's, without the `bert.` before it. `{i}` is a layer.
NAMES = {
  'encoder/embeddings/word': 'embeddings.word_embeddings',
  'encoder/embeddings/position': 'embeddings.position_embeddings',
  'encoder/embeddings/token_type': 'embeddings.token_type_embeddings',
  'encoder/embeddings/ln': 'embeddings.LayerNorm',
  'encoder/layer_{i}/mixer/query': 'encoder.layer.{i}.attention.self.query',
  'encoder/layer_{i}/mixer/key': 'encoder.layer.{i}.attention.self.key',
  'encoder/layer_{i}/mixer/value': 'encoder.layer.{i}.attention.self.value',
  'encoder/layer_{i}/mixer/attn_out': (
    'encoder.layer.{i}.attention.output.dense'
  ),
  'encoder/layer_{i}/ln_attn': 'encoder.layer.{i}.attention.output.LayerNorm',
  'encoder/layer_{i}/ffn/ffn_in': 'encoder.layer.{i}.intermediate.dense',
  'encoder/layer_{i}/ffn/ffn_out': 'encoder.layer.{i}.output.dense',
  'encoder/layer_{i}/ln_ffn': 'encoder.layer.{i}.output.LayerNorm',
  'pooler/dense': 'pooler.dense',
}

PREFIX = 'bert'


def with_structure(names: Mapping[str, dict]) -> dict[str, dict]:
  """Adds the sentence-structure head to a family's table of head names.

  Args:
    names: {kind: {our module: its full Hugging Face name}}; the head is that
      of 'mlm' and one module more.
  """
  structure = {'head/structure': 'cls.seq_relationship'}
  return dict(names) | {'sentence_structure': names['mlm'] | structure}


# Heads by kind, with their full Hugging Face names.
HEAD_NAMES = with_structure(
  {
    'classification': {'head/out': 'classifier'},
    'regression': {'head/out': 'classifier'},
    'multiple_choice': {'head/out': 'classifier'},
    'token_classification': {'head/out': 'classifier'},
    'span': {'head/out': 'qa_outputs'},
    'mlm': {
      'head/dense': 'cls.predictions.transform.dense',
      'head/ln': 'cls.predictions.transform.LayerNorm',
      'head': 'cls.predictions',
    },
  }
)

# Copies of tied tensors that a file may hold: copy -> original.
TIED = {
  'cls.predictions.decoder.weight': 'bert.embeddings.word_embeddings.weight',
  'cls.predictions.decoder.bias': 'cls.predictions.bias',
}

# Pre-training heads that files may hold beside those of a kind of ours.
OTHER_HEADS = ('cls.seq_relationship',)

ARCHITECTURES = {
  'encoder': 'BertModel',
  'classification': 'BertForSequenceClassification',
  'regression': 'BertForSequenceClassification',
  'multiple_choice': 'BertForMultipleChoice',
  'token_classification': 'BertForTokenClassification',
  'span': 'BertForQuestionAnswering',
  'mlm': 'BertForMaskedLM',
  'sentence_structure': 'BertForPreTraining',
}

# Our field -> the key of Hugging Face's config.json.
FIELDS = {
  'vocab_size': 'vocab_size',
  'hidden_size': 'hidden_size',
  'num_layers': 'num_hidden_layers',
  'num_heads': 'num_attention_heads',
  'intermediate_size': 'intermediate_size',
  'max_positions': 'max_position_embeddings',
  'type_vocab_size': 'type_vocab_size',
  'pad_id': 'pad_token_id',
  'layer_norm_eps': 'layer_norm_eps',
  'dropout': 'hidden_dropout_prob',
  'attention_dropout': 'attention_probs_dropout_prob',
  'head_dropout': 'classifier_dropout',
  'init_range': 'initializer_range',
}

# What config.json leaves out when it has the library's default.
DEFAULTS: dict[str, Any] = {
  'hidden_act': 'gelu',
  'pad_token_id': 0,
  'classifier_dropout': None,
  'layer_norm_eps': 1e-12,
  'initializer_range': 0.02,
  'hidden_dropout_prob': 0.1,
  'attention_probs_dropout_prob': 0.1,
  'type_vocab_size': 2,
  'max_position_embeddings': 512,
}

MODEL_TYPE = 'bert'
_ONLY = {
  'position_embedding_type': 'absolute',
  'is_decoder': False,
  'add_cross_attention': False,
}


def config_from_hf(config: Mapping[str, Any]) -> EncoderConfig:
  """Returns our config for a Hugging Face config.json.

  Raises:
    ValueError: a key is missing, or asks for what this encoder can't do.
  """
  return EncoderConfig(**fields_from_hf(config, FIELDS, DEFAULTS))


def config_to_hf(config: EncoderConfig) -> dict[str, Any]:
  """Returns the model part of a Hugging Face config.json."""
  return {'model_type': MODEL_TYPE} | fields_to_hf(config, FIELDS)


def fields_from_hf(
  config: Mapping[str, Any],
  fields: Mapping[str, str],
  defaults: Mapping[str, Any],
) -> dict[str, Any]:
  """Returns the arguments of EncoderConfig that a config.json gives.

  Raises:
    ValueError: a key is missing, or asks for what this encoder can't do.
  """
  library.refuse(config, _ONLY)
  return library.fields_from_hf(config, fields, defaults, 'hidden_act')


def fields_to_hf(
  config: EncoderConfig, fields: Mapping[str, str]
) -> dict[str, Any]:
  """Returns the config.json keys that follow from our config."""
  values = library.fields_to_hf(config, fields, 'hidden_act')
  return values | {'tie_word_embeddings': True}
