"""XLM-RoBERTa (Conneau et al. 2020, arXiv 1911.02116).

RoBERTa for a hundred languages: everything but the vocabulary is RoBERTa's.

Use it: for text that isn't English, or of several languages.
Costs: as RoBERTa; the vocabulary of 250,002 makes two thirds of the base size.
Not with: token types: the texts of a pair are told apart by separators alone.
"""

import dataclasses
from typing import Any

from glue_jax.layers.spec import EncoderConfig
from glue_jax.models import bert, roberta

PRESETS: dict[str, EncoderConfig] = {
  name: dataclasses.replace(preset, vocab_size=250_002)
  for name, preset in roberta.PRESETS.items()
}

HEADS, NAMES, PREFIX = roberta.HEADS, roberta.NAMES, roberta.PREFIX
HEAD_NAMES, TIED = roberta.HEAD_NAMES, roberta.TIED
OTHER_HEADS = roberta.OTHER_HEADS
ARCHITECTURES = {
  kind: name.replace('Bert', 'XLMRoberta')
  for kind, name in bert.ARCHITECTURES.items()
}

MODEL_TYPE = 'xlm-roberta'

config_from_hf = roberta.config_from_hf


def config_to_hf(config: EncoderConfig) -> dict[str, Any]:
  """Returns the model part of a Hugging Face config.json; see roberta."""
  return roberta.config_to_hf(config) | {'model_type': MODEL_TYPE}
