"""Golden vectors of SimCSE's losses, of vectors that are given."""

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.objectives import simcse

VALUE = (2e-5, 0.0)
GRADIENT = 1e-4  # of the largest value of an array


def compare(a: dict[str, np.ndarray]) -> list[tuple]:
  """Rows of the three losses and the plain one's gradient."""
  z = {
    key.removeprefix('input/'): jnp.asarray(value)
    for key, value in a.items()
    if key.startswith('input/')
  }
  t = float(a['input/temperature'])

  def mean(*sides):
    return simcse.info_nce(*sides, temperature=t)[0].mean()

  one, two = z['anchor'], z['positive']
  loss, gradients = jax.value_and_grad(mean, argnums=(0, 1))(one, two)
  found = {
    'output/unsup_loss': loss,
    'output/hard_negative_loss': mean(one, two, z['hard_negative']),
    'output/symmetric_loss': (loss + mean(two, one)) / 2,
  }
  rows = [(name, ours, a[name], *VALUE) for name, ours in found.items()]
  for side, ours in zip(('anchor', 'positive'), gradients, strict=True):
    theirs = a[f'grad/unsup_{side}']
    atol = GRADIENT * np.abs(theirs).max()
    rows.append((f'grad/unsup_{side}', ours, theirs, atol, 0.0))
  return rows
