"""Golden vectors of optimizers: AdamW with and without correction, LAMB."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from glue_jax.optim import build

NAMES = {
  'adamw': 'adamw',
  'adamw_no_bias_correction': 'bert_adam',
  'lamb': 'lamb',
}
VALUE = (1e-6, 0.0)


def compare(a: dict[str, np.ndarray]) -> list[tuple]:
  """Rows of the weights after all steps, decayed at a constant rate."""
  given = json.loads(str(a['config']))
  starts = _named(a, 'input/w')
  gradients = _named(a, 'input/g')
  rows = []
  for theirs, name in NAMES.items():
    found = _after(name, given, starts, gradients)
    rows += [
      (key, found[leaf], a[key], *VALUE)
      for leaf in starts
      if (key := f'output/{theirs}/w{leaf}') in a
    ]
  return rows


def _after(name: str, given: dict, params: Any, gradients: Any) -> Any:
  tx, _ = build.make(
    total_steps=100, names=params, name=name, lr=given['lr'],
    schedule='constant', warmup=0, weight_decay=given['weight_decay'],
    clip_norm=None, args={key: given[key] for key in ('b1', 'b2', 'eps')},
  )  # fmt: skip

  def step(carry, grads):
    params, state = carry
    updates, state = tx.update(grads, state, params)
    return (optax.apply_updates(params, updates), state), None

  (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), gradients)
  return params


def _named(a, prefix):
  """{'0': array, '1': ...} of the arrays <prefix>0, <prefix>1, ..."""
  return {
    key.removeprefix(prefix): jnp.asarray(value)
    for key, value in a.items()
    if key.startswith(prefix)
  }
