"""Golden vectors of the courses' texts, labels and losses, and of soups.

Logits are given, so what is compared are the objective's parts: what the
networks read, what counts as right, and the means over it. Where tokens are
inserted is read off the file's text.
"""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from glue_jax.merging import average, soup, stream
from glue_jax.objectives import courses, mcl, mlm, rtd

VALUE = (1e-6, 1e-6)
MASK, PAD, TEMPERATURE = 3, 0, 0.05

Rows = list[tuple[str, Any, Any, float, float]]


def compare(arrays: dict[str, np.ndarray], folder: Path) -> Rows:
  """Rows (name, ours, theirs, atol, rtol) for one file's arrays."""
  del folder  # all is in the arrays
  real, special = arrays['input/attention_mask'], arrays['input/special_mask']
  batch = {
    'input_ids': jnp.asarray(arrays['input/tokens']),
    'attention_mask': jnp.asarray(real),
    'word_ids': jnp.where((special > 0) | (real == 0), -1, 0),
    'weight': jnp.ones(len(real)),
  }
  found = {
    course: _course(_of(arrays, 'input', course), course, batch)
    for course in mcl.LOSSES
  }
  found['inserted'] = _inserted(_of(arrays, 'input', 'inserted'), arrays, batch)
  flat = {
    f'{"input" if name in GIVEN else "output"}/{course}/{name}': ours
    for course, results in found.items()
    for name, ours in results.items()
  }
  weights = {'gen': 1.0, 'disc': float(arrays['config/lambda_disc'])}
  flat['output/total'] = sum(
    weights[name.removeprefix('re_').removesuffix('_loss')] * loss
    for results in found.values()
    for name, loss in results.items()
    if name.endswith('_loss')
  )
  flat |= _soups(arrays)
  left = {n for n in arrays if n.startswith('output/')} - flat.keys()
  if left:
    raise ValueError(f'nothing compares {sorted(left)}')
  return [_row(name, ours, arrays[name]) for name, ours in flat.items()]


# Of the file's inputs, those that we make ourselves.
GIVEN = ('swapped_input', 'with_mask_tokens', 'attention_mask')


def _of(arrays, kind, course) -> dict[str, Any]:
  start = f'{kind}/{course}/'
  return {
    name.removeprefix(start): jnp.asarray(x)
    for name, x in arrays.items()
    if name.startswith(start)
  }


def _row(name, ours, theirs) -> tuple:
  exact = np.issubdtype(np.asarray(theirs).dtype, np.integer)
  return (name, ours, theirs, *((0.0, 0.0) if exact else VALUE))


def _course(given, course, batch) -> dict[str, Any]:
  """Results of a course that has a right answer."""
  ids, chosen = batch['input_ids'], given['selected'] > 0
  found = {}
  read = jnp.where(chosen, MASK, ids)
  blanks = jnp.full_like(ids, MASK)
  if course == 'swapped':
    read = blanks = found['swapped_input'] = courses.swap(ids, chosen)
  labels = jnp.where(chosen, ids, -100)
  asked = batch | {'input_ids': read, 'blanks': blanks, 'labels': labels}
  asked = mlm.at_chosen(asked, ids.shape[1])
  places = asked['positions']

  def at(x):
    wanted = places if x.ndim == 2 else places[..., None]
    return jnp.take_along_axis(x, wanted, axis=1)

  seen, replaced = rtd.corrupt(batch, asked, at(given['sampled']))
  classes = courses.classes(
    given['disc_logits'], replaced, batch['word_ids'] >= 0
  )
  _, alarm, deceived, caught = classes
  again = courses.to_restore(batch, asked, caught)
  noted = batch | {'attention_mask': alarm | deceived}
  found |= {f'pos{i}': x for i, x in enumerate(classes, 1)}
  return found | {
    'corrupted': seen['input_ids'],
    'disc_labels': replaced,
    'notebook_generator': caught,
    'notebook_discriminator': alarm | deceived,
    'gen_loss': _mean(mlm.score(at(given['gen_logits']), asked)),
    'disc_loss': _mean(rtd.score(given['disc_logits'], replaced, batch)),
    're_gen_loss': _mean(mlm.score(at(given['re_gen_logits']), again)),
    're_disc_loss': _mean(rtd.score(given['re_disc_logits'], replaced, noted)),
  }


def _inserted(given, arrays, batch) -> dict[str, Any]:
  """Results of the course of inserted tokens."""
  opened = np.zeros(batch['input_ids'].shape, bool)
  for row, new in enumerate(arrays['output/inserted/disc_labels'] > 0):
    places = np.flatnonzero(new)
    opened[row, places - 1 - np.arange(len(places))] = True
  length = given['with_mask_tokens'].shape[1]
  longer, new = courses.insert(batch, jnp.asarray(opened), length, MASK, PAD)
  asked = mlm.at_chosen(longer | {'labels': jnp.where(new, 0, -100)}, length)
  fills = jnp.take_along_axis(given['fill_tokens'], asked['positions'], axis=1)
  filled, _ = rtd.corrupt(longer, asked, fills)
  return {
    'with_mask_tokens': longer['input_ids'],
    'attention_mask': longer['attention_mask'],
    'corrupted': filled['input_ids'],
    'disc_labels': new,
    'disc_loss': _mean(rtd.score(given['disc_logits'], new * 1.0, filled)),
  }


def _mean(sums) -> Any:
  total, _, count = (x.sum() for x in sums)
  return total / jnp.maximum(count, 1)


def _soups(arrays) -> dict[str, np.ndarray]:
  models = [stream.from_arrays({'w': w}) for w in arrays['input/soup/weights']]
  shares = soup.weighted(arrays['input/soup/dev_scores'], TEMPERATURE)
  soups = {
    'uniform': average.average(models),
    'softmax_weighted_T0.05': average.average(models, shares),
  }
  return {
    f'output/soup/{name}': stream.to_arrays(made)['w']
    for name, made in soups.items()
  }
