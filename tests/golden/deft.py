"""Golden vectors of DEFT: the official loss and metric, with gradients."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax

from glue_jax.layers import activations
from glue_jax.objectives import density
from glue_jax.optim import density as transform

VALUE = (1e-6, 0.0)
# Relative to the largest entry: the slope is very steep near |a| = 2e-4.
GRADIENT_RTOL = 5e-4
INPUTS = {'pre_activation', 'activation', 'eps'}
# What the arrays say of the activation; the file's name isn't read.
KINDS = ('relu', 'gelu', 'gelu_tanh')


def compare(arrays: dict[str, np.ndarray], folder: pathlib.Path) -> list[tuple]:
  """Rows (name, ours, theirs, atol, rtol) for one file's arrays."""
  del folder  # all is in the arrays
  before, after = arrays['pre_activation'], arrays['activation']
  kind = _kind(before, after)
  values, gradients = _ours(kind, float(arrays['eps']), before, after)
  results = []
  for name, ours in values.items():
    atol, rtol = VALUE
    # A percentage of what is held to an absolute 1e-6 as a share.
    scale = 100 if name == 'density_percent' else 1
    results.append((name, ours, arrays[name], scale * atol, rtol))
  for name, ours in gradients.items():
    theirs = arrays[name.partition(' ')[0]]
    atol = GRADIENT_RTOL * np.abs(theirs).max()
    results.append((name, ours, theirs, atol, 0.0))
  left = sorted(arrays.keys() - {row[0] for row in results} - INPUTS)
  if left:
    raise ValueError(f'nothing compares {left}')
  return results


def _kind(before, after):
  """The activation that turns the one array into the other."""
  far = {
    kind: float(jnp.abs(activations.activation(kind)(before) - after).max())
    for kind in KINDS
  }
  kind = min(far, key=far.get)
  if far[kind] > 1e-6 * max(np.abs(after).max(), 1):
    raise ValueError(f'no known activation: distances {far}')
  return kind


@functools.partial(jax.jit, static_argnums=(0, 1))
def _ours(kind, eps, before, after):
  """All results of a file: values, and gradients also by the transform."""
  activation = activations.activation(kind)
  rows = lambda values: jnp.stack([density.per_example(v) for v in values], 1)

  def loss(a):
    layers = [density.per_example(density.surrogate(x, eps)) for x in a]
    return density.combine(layers).mean()

  # Exact zeros of the stored activations: threshold 0.
  exact = rows(density.density(after, 0.0))
  values = {
    'penalty_per_example_layer': rows(density.surrogate(after, eps)),
    'density_loss': loss(after),
    'density_per_example_layer': exact,
    'density_percent': 100 * exact.mean(),
  }
  gradients = {}
  for name, inputs, captured in (
    ('grad_activation', after, lambda a: a),
    ('grad_pre_activation', before, activation),
  ):
    gradients[name] = jax.grad(lambda x, f=captured: loss(f(x)))(inputs)
    gradients[f'{name} (optax)'] = _by_transform(inputs, captured, eps)
  return values, gradients


def _by_transform(inputs, activation, eps):
  """The gradient as the transform adds it to one of zero, in a chain."""
  tx = optax.chain(transform.add_density_gradient(), optax.identity())
  captured = lambda x: [density.surrogate(a, eps) for a in activation(x)]
  statistics, pullback = jax.vjp(captured, inputs)
  updates, _ = tx.update(
    jnp.zeros_like(inputs),
    tx.init(inputs),
    inputs,
    statistics=statistics,
    pullback=lambda c: pullback(c)[0],
  )
  return updates
