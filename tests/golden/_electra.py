"""Golden vectors of ELECTRA's step, from masks and noise that are given."""

import functools
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax import tree
from glue_jax.models import electra
from glue_jax.models.model import Model
from glue_jax.objectives import mlm, rtd
from tests.golden import _library_names

VALUE = (2e-5, 0.0)
GRADIENT = 1e-4  # of the largest value of an array
WEIGHT = 50.0
KINDS = {'generator': 'mlm', 'discriminator': 'replaced_tokens'}


def compare(a: dict[str, np.ndarray]) -> list[tuple]:
  """Rows of samples, losses, logits and gradients."""
  models = {
    name: Model(
      electra.config_from_hf(json.loads(str(a[f'config/{name}']))),
      'electra', kind, 0,
    )
    for name, kind in KINDS.items()
  }  # fmt: skip
  trees = {
    name: _library_names.params(a, model, f'param/{name}/')
    for name, model in models.items()
  }
  params = rtd.tied(trees['discriminator'] | {'generator': trees['generator']})
  batch = {
    key.removeprefix('input/'): jnp.asarray(value)
    for key, value in a.items()
    if key.startswith('input/')
  }
  batch |= {'weight': jnp.ones(len(a['input/original_ids']))}
  guess = jnp.asarray(a['output/corrupted_ids'])
  (total, found), gradients = _step(
    models['generator'], models['discriminator'], params, batch, guess
  )
  shared = rtd.whole_generator(gradients)
  valid = a['input/attention_mask']
  logits = {'gen': found['words'] * valid[..., None]}
  logits['disc'] = found['logits'] * valid
  return [
    _sampled(a, found['words']),
    ('output/disc_labels', found['replaced'], a['output/disc_labels'], 0, 0),
    _row(a, 'mlm_loss', found['mlm']),
    _row(a, 'disc_loss', found['disc']),
    # Fifty times the discriminator's.
    ('output/total_loss', total, a['output/total_loss'], WEIGHT * VALUE[0], 0),
    *(_row(a, f'{name}_logits', value) for name, value in logits.items()),
    *_gradients(a, models['generator'], shared, 'generator'),
    *_gradients(a, models['discriminator'], gradients, 'discriminator'),
  ]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _step(generator, discriminator, params, batch, guess):
  """((total, parts of it), gradient of both networks' leaves)."""
  masked = batch | {'input_ids': batch['masked_ids']}
  masked['labels'] = batch['mlm_labels']
  original = batch | {'input_ids': batch['original_ids']}
  length = guess.shape[-1]

  def loss(params):
    words = generator.apply({'params': rtd.whole_generator(params)}, masked)
    places = mlm.at_chosen(masked, length)
    at = jnp.take_along_axis(guess, places['positions'], -1)
    seen, replaced = rtd.corrupt(original, places, at)
    own = {name: x for name, x in params.items() if name != rtd.GENERATOR}
    logits = discriminator.apply({'params': own}, seen)['logits']
    total, _, count = (x.sum() for x in mlm.score(words['logits'], masked))
    verdicts, _, real = (x.sum() for x in rtd.score(logits, replaced, batch))
    found = {
      'words': words['logits'], 'logits': logits, 'replaced': replaced,
      'mlm': total / count, 'disc': verdicts / real,
    }  # fmt: skip
    return found['mlm'] + WEIGHT * found['disc'], found

  return jax.value_and_grad(loss, has_aux=True)(params)


def _sampled(a, words) -> tuple:
  """Samples of the noise; the file has its own at the first masked place."""
  drawn = np.array(rtd.sample(words, a['input/gumbel_uniform']))
  chosen = a['input/mlm_labels'] >= 0
  ours = np.where(chosen, drawn, a['input/original_ids'])
  first = tuple(np.argwhere(chosen)[0])
  ours[first] = a['input/original_ids'][first]
  return ('output/corrupted_ids', ours, a['output/corrupted_ids'], 0, 0)


def _gradients(a: dict, model: Model, found: Any, name: str) -> list[tuple]:
  own = {key: x for key, x in found.items() if key != rtd.GENERATOR}
  return _library_names.gradients(
    a, model, tree.unflatten(tree.flatten(own)), f'grad/{name}/', GRADIENT
  )


def _row(a, name, ours):
  return (f'output/{name}', ours, a[f'output/{name}'], *VALUE)
