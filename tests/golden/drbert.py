"""Golden vectors of BERT with a decoder of pre-training, for given draws.

`bert` of the files is the library's; its names of the decoder's blocks are
those of an encoder's, behind the number.
"""

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax import tree
from glue_jax.models import bert, names
from glue_jax.models.model import Model, shapes
from glue_jax.objectives import mlm, mlm_decoder
from tests.golden import _library_names

VALUE = (2e-5, 0.0)
GRADIENT = 1e-4  # of the largest value of an array
FLOOR = _library_names.FLOOR

Rows = list[tuple[str, Any, Any, float, float]]


def compare(arrays: dict[str, np.ndarray], folder: Path) -> Rows:
  """Rows (name, ours, theirs, atol, rtol) for one file's arrays."""
  del folder  # all is in the arrays
  config = bert.config_from_hf(json.loads(str(arrays['config/encoder'])))
  count = int(arrays['config/num_decoder_layers'])
  model = Model(config, 'bert', 'mlm', 0)
  blocks = mlm_decoder.Blocks(dataclasses.replace(config, num_layers=count))
  places = _places(blocks.config)
  decoder = {
    name: jnp.asarray(target.ours(arrays[f'param/decoder/{target.name}']))
    for name, target in places.items()
  }
  params = _library_names.params(arrays, model, 'param/encoder/')
  params[mlm_decoder.DECODER] = tree.unflatten(decoder)
  batch = {
    name.removeprefix('input/'): jnp.asarray(x)
    for name, x in arrays.items()
    if name.startswith('input/')
  }
  first = float(arrays['config/first_layer_unmask_fraction'])
  mix = float(arrays['config/mix_encoder_probability'])
  gradients, found = _step(model, blocks, (first, mix), params, batch)
  real = arrays['input/attention_mask']
  rows = []
  for name, ours in found.items():
    theirs = arrays[f'output/{name}']
    if jnp.issubdtype(ours.dtype, jnp.floating) and ours.ndim:
      ours = ours * real[..., None]
    exact = np.issubdtype(theirs.dtype, np.integer)
    row = (f'output/{name}', ours, theirs, *((0, 0) if exact else VALUE))
    rows.append(row)
  own = gradients.pop(mlm_decoder.DECODER)
  rows += _library_names.gradients(
    arrays, model, gradients, 'grad/encoder/', GRADIENT
  )
  rows += _of_decoder(arrays, places, own)
  results = {n for n in arrays if n.startswith(('output/', 'grad/'))}
  left = sorted(results - {row[0] for row in rows})
  if left:
    raise ValueError(f'nothing compares {left}')
  return rows


def _places(config) -> Mapping[str, names.Target]:
  """{the decoder's leaf: its place in a file}."""
  model = Model(config, 'bert', 'encoder', 0)
  found = names.targets(model, shapes(model))
  return {
    name.removeprefix('encoder/'): target._replace(
      name=target.name.split('encoder.layer.')[1]
    )
    for name, target in found.items()
    if name.startswith('encoder/layer_')
  }


def _of_decoder(arrays, places, gradients) -> Rows:
  """Rows of the gradient of the decoder's leaves."""
  rows = []
  scale = max(np.abs(x).max() for n, x in arrays.items() if n[:4] == 'grad')
  found = names.tensors(places, tree.flatten(gradients))
  for name, ours in found.items():
    theirs = arrays[f'grad/decoder/{name}']
    atol = max(GRADIENT * np.abs(theirs).max(), FLOOR * scale)
    rows.append((f'grad/decoder/{name}', ours, theirs, atol, 0.0))
  return rows


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _step(model, blocks, settings, params, batch):
  """(gradient of all leaves, what the pass gives under the file's names)."""
  first, mix = settings
  asked = batch | {
    'labels': batch['mlm_labels'],
    'weight': jnp.ones(len(batch['input_ids'])),
  }
  asked = mlm.at_chosen(asked, batch['input_ids'].shape[1])
  whole = {n: x for n, x in batch.items() if n != 'positions'}
  keep = batch['uniform_mix'] < mix

  def loss(params):
    own = {n: x for n, x in params.items() if n != mlm_decoder.DECODER}
    encoded = model.apply({'params': own}, whole)['last_hidden']
    visible = mlm_decoder.visible_keys(
      batch['uniform_unmask'], asked, blocks.config.num_layers, first
    )
    given = batch | {'last_hidden': encoded, 'visible': visible}
    decoded = blocks.apply({'params': params[mlm_decoder.DECODER]}, given)
    hidden = mlm_decoder.chosen_states(
      batch['uniform_mix'], encoded, decoded['last_hidden'], mix
    )
    given = whole | {'last_hidden': hidden}
    logits = model.apply({'params': own}, given)['logits']
    full = asked | {'labels': batch['mlm_labels']}
    total, _, count = (x.sum() for x in mlm.score(logits, full))
    value = total / jnp.maximum(count, 1)
    return value, {
      'visible_keys': visible,
      'encoder_hidden': encoded,
      'decoder_hidden': jnp.stack(decoded['hidden_states']),
      'keep_encoder': keep,
      'mixed_hidden': hidden,
      'logits': logits,
      'loss': value,
    }

  return jax.grad(loss, has_aux=True)(params)
