"""Golden vectors of the usual ways to pre-train, and of their optimizers.

Masked language models are compared here: BERT with its pair task, RoBERTa. The
pair task's head is the one of the sentence-structure objective, with two
classes. Logits at padding are zero in the files.
"""

import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.models import bert, roberta
from glue_jax.models.model import Model
from glue_jax.objectives import mlm
from glue_jax.objectives.task import cross_entropy
from tests.golden import (
  _baseline_optimizers,
  _electra,
  _kinds,
  _library_names,
  _seq2seq,
  _simcse,
)

VALUE = (2e-5, 0.0)
GRADIENT = 1e-4  # of the largest value of an array

Rows = list[tuple[str, Any, Any, float, float]]


def compare(arrays: dict[str, np.ndarray], folder: Path) -> Rows:
  """Rows (name, ours, theirs, atol, rtol) for one file's arrays."""
  del folder  # all is in the arrays
  return _kinds.by_kind(
    arrays,
    {
      'param/bert.pooler.dense.weight': _bert,
      'param/lm_head.bias': _roberta,
      'output/lamb/w0': _baseline_optimizers.compare,
      'config/generator': _electra.compare,
      'input/anchor': _simcse.compare,
      'buffer/final_logits_bias': _seq2seq.of_bart,
      'param/shared.weight': _seq2seq.of_t5,
      'input/noise_mask': _seq2seq.of_span_corruption,
    },
    lambda name: name.startswith(('output/', 'grad/')),
  )


def _bert(a: dict[str, np.ndarray]) -> Rows:
  config = bert.config_from_hf(json.loads(str(a['config'])))
  model = Model(config, 'bert', 'sentence_structure', 2)
  (loss, (words, pairs, outputs)), gradients = _run(
    model, _library_names.params(a, model, 'param/'), a
  )
  return [
    *_common(a, outputs, loss),
    _row(a, 'output/nsp_logits', outputs['structure_logits']),
    _row(a, 'output/mlm_loss', words),
    _row(a, 'output/nsp_loss', pairs),
    *_library_names.gradients(a, model, gradients, 'grad/', GRADIENT),
  ]


def _roberta(a: dict[str, np.ndarray]) -> Rows:
  config = roberta.config_from_hf(json.loads(str(a['config'])))
  model = Model(config, 'roberta', 'mlm', 0)
  (loss, (_, _, outputs)), gradients = _run(
    model, _library_names.params(a, model, 'param/'), a
  )
  return [
    *_common(a, outputs, loss),
    *_library_names.gradients(a, model, gradients, 'grad/', GRADIENT),
  ]


def _run(model, params, a):
  """((loss, (of words, of pairs, outputs)), gradient)."""
  batch = {
    key.removeprefix('input/'): value
    for key, value in a.items()
    if key.startswith('input/')
  }
  return _loss(model, params, batch)


@functools.partial(jax.jit, static_argnums=0)
@functools.partial(jax.value_and_grad, argnums=1, has_aux=True)
def _loss(model, params, batch):
  outputs = model.apply({'params': params}, batch)
  weight = jnp.ones(len(batch['input_ids']))
  labels = {'labels': batch['mlm_labels'], 'weight': weight}
  losses, _, count = mlm.score(outputs['logits'], labels)
  words, pairs = losses.sum() / count.sum(), 0.0
  if 'structure_logits' in outputs:
    pairs = cross_entropy(
      outputs['structure_logits'], batch['next_sentence_label']
    ).mean()
  return words + pairs, (words, pairs, outputs)


def _common(a, outputs, loss):
  valid = a['input/attention_mask'][..., None]
  return [
    _row(a, 'output/mlm_logits', outputs['logits'] * valid),
    _row(a, 'output/loss', loss),
  ]


def _row(a, name, ours):
  return (name, ours, a[name], *VALUE)
