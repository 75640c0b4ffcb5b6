"""Small Hugging Face folders for tests: the library's models, our reading."""

import safetensors.numpy
import torch
import transformers

from glue_jax.models import model as models
from glue_jax.weights import (
  huggingface,
  huggingface_tensors,
)

FAMILIES = ('bert', 'roberta', 'electra', 'fnet')
KINDS = {
  'encoder': transformers.AutoModel,
  'classification': transformers.AutoModelForSequenceClassification,
  'token_classification': transformers.AutoModelForTokenClassification,
  'multiple_choice': transformers.AutoModelForMultipleChoice,
  'span': transformers.AutoModelForQuestionAnswering,
  'mlm': transformers.AutoModelForMaskedLM,
}


def theirs(name, kind='classification', **changes):
  """A small random model of the library; no parameter is zero or one."""
  torch.manual_seed(0)
  arguments = dict(
    vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=4,
    intermediate_size=24, max_position_embeddings=12, num_labels=3,
  )  # fmt: skip
  if name == 'electra':
    arguments['embedding_size'] = 8
  if name == 'fnet':
    arguments.pop('num_attention_heads')
  if kind == 'span':
    arguments['num_labels'] = 2
  config = transformers.AutoConfig.for_model(name, **(arguments | changes))
  model = KINDS[kind].from_config(config).eval()
  for parameter in model.parameters():
    parameter.data.add_(0.3 * torch.randn_like(parameter))
  return model


def save(model, folder):
  model.save_pretrained(folder)
  return folder


def read(folder):
  return safetensors.numpy.load_file(folder / huggingface_tensors.WEIGHTS)


def load(folder, kind='classification', num_outputs=3, **kwargs):
  name, config, _ = huggingface.read_hf_config(folder)
  model = models.build(name, config=config, kind=kind, num_outputs=num_outputs)
  return model, *huggingface.load_hf(folder, model, **kwargs)


def rewrite(folder, change):
  tensors = read(folder)
  change(tensors)
  safetensors.numpy.save_file(tensors, folder / huggingface_tensors.WEIGHTS)


QUERY = 'bert.encoder.layer.1.attention.self.query.weight'
