"""Golden vectors of Vega v1: one step of SiFT, from the code of DeBERTa."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.models import deberta_v2
from glue_jax.models.model import Model
from glue_jax.objectives import adversarial
from glue_jax.objectives.task import cross_entropy
from glue_jax.plugs import Apply
from tests.golden import _kinds, _library_names

LOGITS = (2e-5, 0.0)
LOSS = (1e-4, 0.0)
GRADIENT = 1e-3  # of the largest value of an array
DELTA, SIZE = 1e-5, 1e-3  # of the step; of a gradient that isn't tiny


def compare(arrays: _kinds.Arrays, folder: Path) -> list[tuple]:
  """Rows (name, ours, theirs, atol, rtol) for one file's arrays."""
  del folder  # all is in the arrays
  return _kinds.by_kind(
    arrays,
    {'input/delta_init': _sift},
    lambda name: name.startswith(('output/', 'grad/')),
  )


def _sift(a: _kinds.Arrays) -> list[tuple]:
  config = deberta_v2.config_from_hf(json.loads(str(a['config'])))
  classes = a['output/logits_with_sift_layer'].shape[-1]
  model = Model(config, 'deberta_v2', 'classification', classes)
  names = ('input_ids', 'attention_mask', 'token_type_ids')
  batch = {n: jnp.asarray(a[f'input/{n}']) for n in names if f'input/{n}' in a}
  labels, first = (
    jnp.asarray(a[f'input/{n}']) for n in ('labels', 'delta_init')
  )
  weight, eps = (
    float(a[f'config/vat_{n}']) for n in ('lambda', 'learning_rate')
  )
  kind = str(a['config/vat_loss_fn'])
  plain, plugged = Apply(model), Apply(model, plugs=(adversarial.PLUG,))

  def loss(params):
    outputs = plugged(params, batch)
    clean = {
      'input': outputs['captured'][f'{adversarial.PLACE}/{adversarial.NAME}'],
      'logits': outputs['logits'],
    }

    def run(x, params, number):
      del number  # there is no dropout
      disturbed = plugged.replace(extra={adversarial.NAME: x})
      return disturbed(params, batch)['logits']

    logits, delta = adversarial.attacked(run, params, clean, first, eps, kind)
    apart = adversarial.divergence('symmetric-kl', logits, clean['logits'])
    task, term = cross_entropy(clean['logits'], labels).mean(), apart.mean()
    total = task + weight * term
    found = {
      'logits_without_sift_layer': plain(params, batch)['logits'],
      'logits_with_sift_layer': clean['logits'],
      'normalised_embedding': clean['input'],
      'task_loss': task,
      'adv_loss': term,
      'total_loss': total,
    }
    return total, (found, delta)

  params = _library_names.params(a, model, 'param/')
  step = jax.jit(jax.value_and_grad(loss, has_aux=True))
  (_, (found, delta)), gradients = step(params)
  rows = [
    (f'output/{name}', ours, a[f'output/{name}'],
     *(LOSS if name.endswith('loss') else LOGITS))
    for name, ours in found.items()
  ]  # fmt: skip
  start, theirs = a['input/delta_init'], a['output/delta_after']
  trust = _trust(theirs - start, eps)
  ours, theirs = (start + trust * (x - start) for x in (delta, theirs))
  rows.append(('output/delta_after', ours, theirs, DELTA * eps, 0.0))
  return rows + _library_names.gradients(a, model, gradients, 'grad/', GRADIENT)


def _trust(moved: np.ndarray, eps: float) -> np.ndarray:
  """How much of the tolerance a position's movement is held to: (B, L, 1).

  The step divides by 1e-6 + the gradient's largest element, which the movement
  tells; below SIZE its rounding, in float32, counts for more.
  """
  length = np.abs(moved).max(-1, keepdims=True) / eps
  gradient = 1e-6 * length / np.maximum(1 - length, 1e-9)
  return np.where(gradient > 0, np.minimum(gradient / SIZE, 1), 1)
