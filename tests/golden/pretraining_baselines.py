"""Golden vectors of masked language models: BERT with its pair task, RoBERTa.

Of the slug's files those with masked words; no other objective of its sheet is
built here. The pair task's head is the one of the sentence-structure objective,
with two classes. Logits at padding are zero in the files.
"""

import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax import tree
from glue_jax.models import bert, names, roberta
from glue_jax.models.model import Model, shapes
from glue_jax.objectives import mlm
from glue_jax.objectives.task import cross_entropy
from tests.golden import _kinds

FILES = '*mlm*.npz'

VALUE = (2e-5, 0.0)
# Of the largest value of an array; with a floor for gradients that are zero in
# exact arithmetic (a key's bias), of the file's largest.
GRADIENT, FLOOR = 1e-4, 1e-6

Rows = list[tuple[str, Any, Any, float, float]]


def compare(arrays: dict[str, np.ndarray], folder: Path) -> Rows:
  """Rows (name, ours, theirs, atol, rtol) for one file's arrays."""
  del folder  # all is in the arrays
  return _kinds.by_kind(
    arrays,
    {'param/bert.pooler.dense.weight': _bert, 'param/lm_head.bias': _roberta},
    lambda name: name.startswith(('output/', 'grad/')),
  )


def _bert(a: dict[str, np.ndarray]) -> Rows:
  config = bert.config_from_hf(json.loads(str(a['config'])))
  model = Model(config, 'bert', 'sentence_structure', 2)
  (loss, (words, pairs, outputs)), gradients = _run(model, _params(a, model), a)
  return [
    *_common(a, outputs, loss),
    ('output/nsp_logits', outputs['structure_logits'], a['output/nsp_logits'])
    + VALUE,
    ('output/mlm_loss', words, a['output/mlm_loss'], *VALUE),
    ('output/nsp_loss', pairs, a['output/nsp_loss'], *VALUE),
    *_gradients(a, model, gradients),
  ]


def _roberta(a: dict[str, np.ndarray]) -> Rows:
  config = roberta.config_from_hf(json.loads(str(a['config'])))
  model = Model(config, 'roberta', 'mlm', 0)
  (loss, (_, _, outputs)), gradients = _run(model, _params(a, model), a)
  return [*_common(a, outputs, loss), *_gradients(a, model, gradients)]


def _params(a, model):
  flat = {}
  for name, target in names.targets(model, shapes(model)).items():
    value = a[f'param/{target.name}']
    flat[name] = jnp.asarray(value.T if target.transpose else value)
  return tree.unflatten(flat)


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
  logits = outputs['logits'] * valid
  return [
    ('output/mlm_logits', logits, a['output/mlm_logits'], *VALUE),
    ('output/loss', loss, a['output/loss'], *VALUE),
  ]


def _gradients(a, model, gradients):
  flat = tree.flatten(gradients)
  scale = max(np.abs(v).max() for k, v in a.items() if k.startswith('grad/'))
  for name, target in names.targets(model, shapes(model)).items():
    theirs = a[f'grad/{target.name}']
    ours = flat[name].T if target.transpose else flat[name]
    atol = max(GRADIENT * np.abs(theirs).max(), FLOOR * scale)
    yield f'grad/{target.name}', ours, theirs, atol, 0.0
