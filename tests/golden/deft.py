"""Golden vectors of DEFT: the official loss and metric, with gradients."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax

from glue_jax.layers import feedforward
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
  eps = float(arrays['eps'])
  kind = _kind(before, after)
  activation = feedforward.activation(kind)
  rows = lambda values: jnp.stack([density.per_example(v) for v in values], 1)

  def loss(a):
    layers = [density.per_example(density.surrogate(x, eps)) for x in a]
    return density.combine(layers).mean()

  # Exact zeros of the stored activations: threshold 0.
  exact = rows(density.density(jnp.asarray(after), 0.0))
  found = {
    'penalty_per_example_layer': rows(
      density.surrogate(jnp.asarray(after), eps)
    ),
    'density_loss': loss(jnp.asarray(after)),
    'density_per_example_layer': exact,
    'density_percent': 100 * exact.mean(),
  }
  results = [(n, v, arrays[n], *VALUE) for n, v in found.items()]
  percent = arrays['density_percent']
  results[-1] = ('density_percent', found['density_percent'], percent, 1e-4, 0)
  for name, inputs, captured in (
    ('grad_activation', after, lambda a: a),
    ('grad_pre_activation', before, activation),
  ):
    theirs = arrays[name]
    atol = GRADIENT_RTOL * np.abs(theirs).max()
    gradient = jax.grad(lambda x, f=captured: loss(f(x)))(jnp.asarray(inputs))
    results.append((name, gradient, theirs, atol, 0.0))
    added = _by_transform(jnp.asarray(inputs), captured, eps)
    results.append((f'{name} (optax)', added, theirs, atol, 0.0))
  left = sorted(arrays.keys() - {row[0] for row in results} - INPUTS)
  if left:
    raise ValueError(f'nothing compares {left}')
  return results


def _kind(before, after):
  """The activation that turns the one array into the other."""
  far = {
    kind: float(jnp.abs(feedforward.activation(kind)(before) - after).max())
    for kind in KINDS
  }
  kind = min(far, key=far.get)
  if far[kind] > 1e-6 * max(np.abs(after).max(), 1):
    raise ValueError(f'no known activation: distances {far}')
  return kind


def _by_transform(inputs, activation, eps):
  """The gradient as the transform adds it to a zero one, under jit."""
  tx = optax.chain(transform.add_density_gradient(), optax.identity())
  captured = lambda x: [density.surrogate(a, eps) for a in activation(x)]

  @jax.jit
  def added(x):
    statistics, pullback = jax.vjp(captured, x)
    updates, _ = tx.update(
      jnp.zeros_like(x),
      tx.init(x),
      x,
      statistics=statistics,
      pullback=lambda c: pullback(c)[0],
    )
    return updates

  return added(inputs)
