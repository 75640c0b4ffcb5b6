"""Rows of encoder-decoders: outputs, loss and gradients."""

import functools
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.models import bart, t5
from glue_jax.models.model import Model
from glue_jax.objectives import span_corruption
from glue_jax.objectives.task import cross_entropy
from tests.golden import _library_names

VALUE = (2e-5, 0.0)
GRADIENT = 1e-4  # of the largest value of an array

Rows = list[tuple[str, Any, Any, float, float]]


def of_bart(a: dict[str, np.ndarray]) -> Rows:
  """Rows of a file of BART's."""
  model = Model(bart.config_from_hf(json.loads(str(a['config']))), 'bart',
                'seq2seq_lm', 0)  # fmt: skip
  offset = a['buffer/final_logits_bias']
  # A constant: it has no gradient there.
  a = a | {
    'param/final_logits_bias': offset,
    'grad/final_logits_bias': np.zeros_like(offset),
  }
  return _rows(a, model)


def of_t5(a: dict[str, np.ndarray]) -> Rows:
  """Rows of a file of T5's, 1.0 or 1.1."""
  config = t5.config_from_hf(json.loads(str(a['config'])))
  return _rows(a, Model(config, 't5', 'seq2seq_lm', 0))


def of_span_corruption(a: dict[str, np.ndarray]) -> Rows:
  """Rows of T5's corruption, from tokens and noise that are given."""
  tokens, noise = a['input/tokens'], a['input/noise_mask']
  wanted = {k: a[f'output/{k}'] for k in ('encoder_input', 'decoder_target')}
  config = t5.PRESETS['small']
  ids, _, labels = span_corruption.corrupt(
    jnp.asarray(tokens),
    jnp.full(len(tokens), tokens.shape[1]),
    jnp.asarray(noise) == 1,
    int(a['input/vocab_size']) - 1,
    config,
    tuple(x.shape[1] for x in wanted.values()),
  )
  found = ids, jnp.where(labels < 0, config.pad_id, labels)
  return [
    (f'output/{name}', ours, theirs, 0.0, 0.0)
    for (name, theirs), ours in zip(wanted.items(), found)
  ]


def _rows(a, model):
  batch = {
    key.removeprefix('input/'): value
    for key, value in a.items()
    if key.startswith('input/')
  }
  params = _library_names.params(a, model, 'param/')
  (loss, outputs), gradients = _loss(model, params, batch)
  read = batch['attention_mask'][..., None]
  written = (batch['labels'] >= 0)[..., None]
  found = {
    'loss': loss,
    'logits': outputs['logits'] * written,
    'encoder_last_hidden_state': outputs['encoder_last_hidden'] * read,
  }
  return [
    *((f'output/{k}', v, a[f'output/{k}'], *VALUE) for k, v in found.items()),
    *_library_names.gradients(a, model, gradients, 'grad/', GRADIENT),
  ]


@functools.partial(jax.jit, static_argnums=0)
@functools.partial(jax.value_and_grad, argnums=1, has_aux=True)
def _loss(model, params, batch):
  outputs = model.apply({'params': params}, batch)
  targets = batch['labels'] >= 0
  losses = cross_entropy(outputs['logits'], jnp.maximum(batch['labels'], 0))
  return (losses * targets).sum() / targets.sum(), outputs
