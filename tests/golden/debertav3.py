"""Golden vectors of DeBERTa: encoder, classifier, buckets of distances.

Encoder and classifier against `transformers`, buckets and the step of
pre-training with two networks against the official code. Outputs at padding are
zero in the files.
"""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.layers.mixers import disentangled
from glue_jax.layers.spec import freeze
from glue_jax.models import deberta_v2
from glue_jax.models.model import Model
from glue_jax.objectives.task import cross_entropy
from tests.golden import _disentangled_sharing, _kinds, _library_names

VALUE = (2e-5, 0.0)
GRADIENT = 1e-4  # of the largest value of an array

Rows = list[tuple[str, Any, Any, float, float]]


def compare(arrays: dict[str, np.ndarray], folder: Path) -> Rows:
  """Rows (name, ours, theirs, atol, rtol) for one file's arrays."""
  del folder  # all is in the arrays
  if any(name.startswith('input/rel_b') for name in arrays):
    return _buckets(arrays)
  return _kinds.by_kind(
    arrays,
    {
      'config/rtd_lambda': _disentangled_sharing.compare,
      'input/probe': _encoder,
      'input/labels': _classifier,
    },
    lambda name: name.startswith(('output/', 'grad/', 'grad_nes/')),
  )


def _buckets(a: dict[str, np.ndarray]) -> Rows:
  rows = []
  for name in [n for n in a if n.startswith('input/rel_')]:
    sizes = name.removeprefix('input/rel_')
    buckets, span = (int(part[1:]) for part in sizes.split('_'))
    ours = disentangled.bucket(a[name], buckets, span)
    for kind in ('bucket', 'bucket_hf'):
      rows.append((name, ours, a[f'output/{kind}_{sizes}'], 0.0, 0.0))
  return rows


def _model(a: dict[str, np.ndarray], kind: str, outputs: int) -> Model:
  config = deberta_v2.config_from_hf(json.loads(str(a['config'])))
  # The probabilities are among the results.
  options = {name: dict(pairs) for name, pairs in config.options}
  options.setdefault(config.mixer, {})['fused'] = False
  config = config.__class__(**vars(config) | {'options': freeze(options)})
  return Model(config, 'deberta_v2', kind, outputs)


def _batch(a: dict[str, np.ndarray]) -> dict[str, jax.Array]:
  names = ('input_ids', 'attention_mask', 'token_type_ids')
  return {n: jnp.asarray(a[f'input/{n}']) for n in names if f'input/{n}' in a}


def _encoder(a: dict[str, np.ndarray]) -> Rows:
  model, batch = _model(a, 'encoder', 0), _batch(a)
  mask = batch['attention_mask']

  def run(params):
    outputs, state = model.apply(
      {'params': params}, batch, capture_intermediates=_is_softmax
    )
    loss = (outputs['last_hidden'] * a['input/probe']).sum() / mask.sum()
    probs = state['intermediates']['encoder']['layer_0']['mixer']['core']
    return loss, (outputs, probs['softmax']['__call__'][0])

  params = _library_names.params(a, model, 'param/')
  step = jax.jit(jax.value_and_grad(run, has_aux=True))
  (loss, (outputs, probs)), gradients = step(params)
  states = jnp.stack(outputs['hidden_states']) * mask[..., None]
  pairs = mask[:, None, :, None] * mask[:, None, None, :]
  found = {
    'last_hidden_state': outputs['last_hidden'] * mask[..., None],
    'hidden_states': states,
    'attention_layer0': probs * pairs,
    'loss': loss,
  }
  theirs = {name: a[f'output/{name}'] for name in found}
  theirs['attention_layer0'] = theirs['attention_layer0'] * pairs
  rows = [
    (f'output/{name}', ours, theirs[name], *VALUE)
    for name, ours in found.items()
  ]
  return rows + _library_names.gradients(a, model, gradients, 'grad/', GRADIENT)


def _is_softmax(module: Any, method: str) -> bool:
  return module.name == 'softmax' and method == '__call__'


def _classifier(a: dict[str, np.ndarray]) -> Rows:
  outputs = a['output/logits'].shape[-1]
  model, batch = _model(a, 'classification', outputs), _batch(a)

  def run(params):
    logits = model.apply({'params': params}, batch)['logits']
    return cross_entropy(logits, jnp.asarray(a['input/labels'])).mean(), logits

  params = _library_names.params(a, model, 'param/')
  step = jax.jit(jax.value_and_grad(run, has_aux=True))
  (loss, logits), gradients = step(params)
  rows = [
    ('output/logits', logits, a['output/logits'], *VALUE),
    ('output/loss', loss, a['output/loss'], *VALUE),
  ]
  return rows + _library_names.gradients(a, model, gradients, 'grad/', GRADIENT)
